/* Any bytes as signet.conf. Must hold: what is refused is refused with a text that names the file; what is accepted, printed and read again is the same,
 * and each option is within its bounds (config_load checks them, so a printed one is accepted). */
#include "base/config.h"
#include "fuzz.h"
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

static int load(struct config *c, const char *text, size_t n, struct err *err)
{
    char path[64];
    int fd = memfd_create("signet.conf", 0);
    if (fd < 0 || write(fd, text, n) != (ssize_t)n) abort();
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    int rc = config_load(c, path, NULL, 0, err);
    MUST_HOLD(rc == 0 || (err->text[0] != '\0' && strstr(err->text, path) != NULL));
    close(fd);
    return rc;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    struct config c, again;
    struct err err = {0};
    if (load(&c, (const char *)data, n, &err) != 0) return 0;
    struct buf once = {0}, twice = {0};
    config_print(&c, &once);
    if (load(&again, once.data, once.len, &err) != 0) {
        fprintf(stderr, "%s\n", err.text);
        MUST_HOLD(strstr(err.text, "********") != NULL); /* a secret is not shown, and what is shown may be none */
    } else {
        config_print(&again, &twice);
        MUST_HOLD(str_eq(buf_str(&once), buf_str(&twice)));
        config_free(&again);
    }
    config_free(&c);
    buf_free(&once);
    buf_free(&twice);
    return 0;
}
