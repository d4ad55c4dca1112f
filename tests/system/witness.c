/* A compliance server for tests under load: lets everything pass and notes each message it is shown, a line each, in the order in which they come:
 *     EVENT PROFILE EVENT_ID FROM BODY
 *     PASSWORD=... witness PORT COMPONENT FILE
 * What it was shown is in the file once it has ended. */
#include <signet/compliance.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static FILE *notes;

static void on_event(struct signet_event *e, void *arg)
{
    (void)arg;
    if (e->body != NULL) fprintf(notes, "%s %s %s %s %.40s\n", e->name, e->profile, e->id, e->from, e->body);
    signet_pass(e);
}

int main(int argc, char **argv)
{
    if (argc != 4 || getenv("PASSWORD") == NULL) return 2;
    char address[64];
    snprintf(address, sizeof(address), "127.0.0.1:%s", argv[1]);
    notes = fopen(argv[3], "w");
    struct signet_server *s = signet_new();
    if (notes == NULL || signet_on_event(s, NULL, on_event, NULL) < 0 || signet_component(s, argv[2], getenv("PASSWORD")) < 0 ||
        signet_listen(s, address, NULL) < 0 || signet_run(s, 5000) < 0) {
        fprintf(stderr, "witness: %s\n", signet_error(s));
        return 1;
    }
    signet_free(s);
    return fclose(notes) == 0 ? 0 : 1;
}
