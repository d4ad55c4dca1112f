/* Output. For people: one line per event, control characters made visible, so that nobody's message moves the cursor of who reads it. */
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "base/clock.h"
#include "print.h"

enum column {
    SEQ,
    TIME_MS,
    EVENT_ID,
    STANZA_ID,
    EVENT_NAME,
    NODE,
    TIME,
    PROFILE,
    KEY,
    SESSION,
    ROOM,
    COPY,
    KIND,
    TYPE,
    FROM,
    TO,
    BODY,
    PASSED_BODY,
    COMPONENT,
    FIRE_AND_FORGET,
    RECEIVED_MS,
    XML,
    PASSED_XML,
    N_COLUMNS,
};
static const char *const json_names[N_COLUMNS] = {
    [EVENT_ID] = "event_id",
    [STANZA_ID] = "stanza_id",
    [EVENT_NAME] = "event",
    [NODE] = "node",
    [TIME] = "time",
    [PROFILE] = "profile",
    [KEY] = "key",
    [SESSION] = "session",
    [ROOM] = "room",
    [COPY] = "copy",
    [KIND] = "kind",
    [TYPE] = "type",
    [FROM] = "from",
    [TO] = "to",
    [BODY] = "body",
    [PASSED_BODY] = "passed_body",
    [COMPONENT] = "component",
    [XML] = "xml",
    [PASSED_XML] = "passed_xml",
};

static const char *text(sqlite3_stmt *row, enum column c)
{
    return (const char *)sqlite3_column_text(row, c);
}

static void print_json(sqlite3_stmt *row)
{
    char stamp[CLOCK_STAMP_SIZE];
    json_t *o = json_object();
    for (int c = 0; c < N_COLUMNS; c++) {
        if (json_names[c] == NULL || sqlite3_column_type(row, c) == SQLITE_NULL) continue;
        json_object_set_new(o, json_names[c], json_stringn(text(row, (enum column)c), (size_t)sqlite3_column_bytes(row, c)));
    }
    json_object_set_new(o, "fire_and_forget", json_boolean(sqlite3_column_int(row, FIRE_AND_FORGET)));
    json_object_set_new(o, "received", json_string(clock_stamp((uint64_t)sqlite3_column_int64(row, RECEIVED_MS), stamp)));
    json_dumpf(o, stdout, JSON_COMPACT | JSON_PRESERVE_ORDER);
    json_decref(o);
    putchar('\n');
}

static void print_visible(const char *s)
{
    for (; s != NULL && *s != '\0'; s++) {
        unsigned char c = (unsigned char)*s, after = (unsigned char)s[1];
        if (c == '\n')
            fputs("\\n", stdout);
        else if (c == '\t')
            fputs("\\t", stdout);
        else if (c < 0x20 || c == 0x7f)
            printf("\\x%02x", c);
        else if (c == 0xc2 && after >= 0x80 && after < 0xa0)
            printf("\\x%02x", after), s++; /* C1 controls */
        else
            putchar(c);
    }
}

static void print_part(const char *before, const char *s)
{
    if (s == NULL || *s == '\0') return;
    fputs(before, stdout);
    print_visible(s);
}

static void print_line(sqlite3_stmt *row, bool with_xml)
{
    char stamp[CLOCK_STAMP_SIZE];
    printf("%s  %-14s", clock_stamp((uint64_t)sqlite3_column_int64(row, TIME_MS), stamp), text(row, EVENT_NAME));
    print_part("  ", text(row, FROM));
    print_part(" -> ", text(row, TO));
    print_part("  ", text(row, KIND));
    print_part("/", text(row, TYPE));
    print_part(" session=", text(row, SESSION));
    print_part(" room=", text(row, ROOM));
    print_part(" copy=", text(row, COPY));
    print_part(" stanza=", text(row, STANZA_ID));
    print_part("  \"", text(row, BODY));
    if (sqlite3_column_type(row, BODY) != SQLITE_NULL) putchar('"');
    if (sqlite3_column_type(row, PASSED_XML) != SQLITE_NULL) {
        print_part("  let through as \"", text(row, PASSED_BODY) != NULL ? text(row, PASSED_BODY) : " ");
        putchar('"');
    }
    putchar('\n');
    if (!with_xml) return;
    print_part("    ", text(row, XML));
    putchar('\n');
    if (text(row, PASSED_XML) == NULL) return;
    print_part("    let through: ", text(row, PASSED_XML));
    putchar('\n');
}

int64_t print_row(sqlite3_stmt *row, const struct options *o)
{
    if (o->json)
        print_json(row);
    else
        print_line(row, o->xml);
    return sqlite3_column_int64(row, SEQ);
}
