/* signet-recorder: a compliance server that archives. `serve` records; `search`, `tail` and `count` read the archive, also while it is written. */
#include <locale.h>
#include <stdio.h>
#include "find.h"
#include "options.h"
#include "serve.h"

static int run(struct options *o, struct err *err)
{
    switch (o->command) {
    case COMMAND_SERVE:
        return options_read_passwords(o, err) < 0 ? -1 : serve_run(o, err);
    case COMMAND_SEARCH:
        return find_search(o, err);
    case COMMAND_TAIL:
        return find_tail(o, err);
    case COMMAND_COUNT:
        return find_count(o, err);
    case COMMAND_VERSION:
        printf("signet-recorder %s\n", SIGNET_VERSION);
        return 0;
    default:
        options_help();
        return 0;
    }
}

/* Exit: 0 fine, 1 it did not work, 2 it was asked wrongly. */
int main(int argc, char **argv)
{
    struct options o;
    struct err err = {0};
    setlocale(LC_CTYPE, "C.UTF-8"); /* regular expressions see characters, not bytes */
    int rc = options_parse(&o, argc, argv, &err) < 0 ? 2 : run(&o, &err) < 0 ? 1 : 0;
    if (rc != 0) fprintf(stderr, "signet-recorder: %s\n", err.text);
    options_free(&o);
    return rc;
}
