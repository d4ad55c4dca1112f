/* Passwords come from a file, from standard input, from the terminal without echo, or are made here; never from the command line. They are wiped
 * after use. */
#include "signetctl/ctl.h"
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <termios.h>
#include <unistd.h>

/* ---- from a stream: its first line; a second one is not meant to be there ---- */
static enum outcome read_secret(FILE *f, const char *from, char **out, struct err *err)
{
    char text[SECRET_MAX + 3];
    size_t n = fread(text, 1, sizeof(text), f);
    size_t end = n;
    enum outcome rc = OUTCOME_OK;
    if (end > 0 && text[end - 1] == '\n') end--;
    if (end > 0 && text[end - 1] == '\r') end--;
    if (ferror(f))
        rc = fail(OUTCOME_USAGE, err, "%s: the password cannot be read: %s", from, strerror(errno));
    else if (end == 0)
        rc = fail(OUTCOME_USAGE, err, "%s: there is no password in it", from);
    else if (end > SECRET_MAX)
        rc = fail(OUTCOME_USAGE, err, "%s: a password has at most %d bytes", from, SECRET_MAX);
    else if (memchr(text, '\n', end) != NULL || memchr(text, '\0', end) != NULL)
        rc = fail(OUTCOME_USAGE, err, "%s: it must have the password as its only line", from);
    else
        *out = str_dup((struct str){text, end});
    explicit_bzero(text, sizeof(text));
    return rc;
}

static enum outcome secret_file(const char *path, char **out, struct err *err)
{
    FILE *f = fopen(path, "re");
    if (f == NULL) return fail(OUTCOME_USAGE, err, "%s: the password cannot be read: %s", path, strerror(errno));
    setvbuf(f, NULL, _IONBF, 0); /* no copy in a buffer of its own */
    enum outcome rc = read_secret(f, path, out, err);
    fclose(f);
    return rc;
}

/* ---- from the terminal. A signal while the echo is off restores it first ---- */
static volatile sig_atomic_t signal_caught;
static void on_signal(int sig) { signal_caught = sig; }

static ssize_t read_silently(char *text, size_t size)
{
    static const int signals[] = {SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGTSTP};
    enum { SIGNALS = sizeof(signals) / sizeof(signals[0]) };
    struct sigaction ours = {.sa_handler = on_signal}, before[SIGNALS];
    struct termios shown, silent;
    if (tcgetattr(STDIN_FILENO, &shown) != 0) return -1;
    signal_caught = 0;
    for (unsigned i = 0; i < SIGNALS; i++) sigaction(signals[i], &ours, &before[i]);
    silent = shown;
    silent.c_lflag &= ~(tcflag_t)(ECHO | ECHONL);
    tcsetattr(STDIN_FILENO, TCSAFLUSH, &silent);
    ssize_t n = read(STDIN_FILENO, text, size);
    tcsetattr(STDIN_FILENO, TCSAFLUSH, &shown);
    for (unsigned i = 0; i < SIGNALS; i++) sigaction(signals[i], &before[i], NULL);
    fputc('\n', stderr);
    if (signal_caught != 0) raise(signal_caught);
    return n;
}

static enum outcome ask_once(const char *prompt, char **out, struct err *err)
{
    char text[SECRET_MAX + 2];
    fputs(prompt, stderr);
    ssize_t n = read_silently(text, sizeof(text));
    if (n > 0 && text[n - 1] == '\n') n--;
    enum outcome rc = OUTCOME_OK;
    if (n <= 0)
        rc = fail(OUTCOME_USAGE, err, "no password was typed");
    else if (n > SECRET_MAX)
        rc = fail(OUTCOME_USAGE, err, "a password has at most %d bytes", SECRET_MAX);
    else
        *out = str_dup((struct str){text, (size_t)n});
    explicit_bzero(text, sizeof(text));
    return rc;
}

static enum outcome secret_ask(const char *what, char **out, struct err *err)
{
    if (!isatty(STDIN_FILENO))
        return fail(OUTCOME_USAGE, err, "there is no terminal to ask for the %s; use --password-file or --password-stdin", what);
    char *first = NULL, *second = NULL;
    struct buf prompt = {0};
    buf_addf(&prompt, "New %s: ", what);
    enum outcome rc = ask_once(buf_cstr(&prompt), &first, err);
    if (rc == OUTCOME_OK) rc = ask_once("Once more: ", &second, err);
    if (rc == OUTCOME_OK && strcmp(first, second) != 0) rc = fail(OUTCOME_USAGE, err, "the two are not the same; nothing was changed");
    buf_free(&prompt);
    secret_free(second);
    if (rc == OUTCOME_OK)
        *out = first;
    else
        secret_free(first);
    return rc;
}

/* 100 random bits in letters and digits that are not mistaken for each other. */
static enum outcome secret_make(char **out, struct err *err)
{
    static const char letters[] = "abcdefghijkmnpqrstuvwxyz23456789";
    enum { LENGTH = 20 };
    _Static_assert(sizeof(letters) == 32 + 1, "five bits a letter");
    unsigned char bytes[LENGTH];
    char text[LENGTH];
    if (getrandom(bytes, sizeof(bytes), 0) != (ssize_t)sizeof(bytes)) return fail(OUTCOME_REFUSED, err, "no random bytes: %s", strerror(errno));
    for (unsigned i = 0; i < LENGTH; i++) text[i] = letters[bytes[i] % 32];
    *out = str_dup((struct str){text, LENGTH});
    explicit_bzero(text, sizeof(text));
    explicit_bzero(bytes, sizeof(bytes));
    return OUTCOME_OK;
}

enum outcome secret_get(const struct invocation *in, const char *what, char **out, struct err *err)
{
    unsigned source = in->given & (OPT_PASSWORD_FILE | OPT_PASSWORD_STDIN | OPT_PASSWORD_ASK | OPT_GENERATE);
    *out = NULL;
    switch (source) {
    case OPT_PASSWORD_FILE: return secret_file(in->values[SWITCH_PASSWORD_FILE], out, err);
    case OPT_PASSWORD_STDIN: setvbuf(stdin, NULL, _IONBF, 0); return read_secret(stdin, "standard input", out, err);
    case OPT_GENERATE: return secret_make(out, err);
    case OPT_PASSWORD_ASK:
    case 0: return secret_ask(what, out, err);
    default: return fail(OUTCOME_USAGE, err, "more than one option says where the password comes from");
    }
}

void secret_free(char *secret)
{
    if (secret == NULL) return;
    explicit_bzero(secret, strlen(secret));
    free(secret);
}

enum outcome confirm(const struct invocation *in, const char *question, struct err *err)
{
    if ((in->given & OPT_YES) != 0) return OUTCOME_OK;
    if (!isatty(STDIN_FILENO)) return fail(OUTCOME_USAGE, err, "there is no terminal to ask whether it is meant; use --yes");
    char answer[16];
    fprintf(stderr, "%s Type yes to go on: ", question);
    if (fgets(answer, sizeof(answer), stdin) != NULL && strcmp(answer, "yes\n") == 0) return OUTCOME_OK;
    return fail(OUTCOME_USAGE, err, "nothing was done");
}
