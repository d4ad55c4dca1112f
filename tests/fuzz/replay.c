/* Runs a fuzz harness over files: each argument is a file or a directory of them. Inputs are also run cut short in several places and with bytes changed,
 * the same way each time: a small, repeatable taste of fuzzing in the ordinary test run. FUZZ_VARIANTS=1000000 makes it a longer one, for machines
 * without libFuzzer. */
#include <dirent.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include "base/buf.h"
#include "fuzz.h"

#define VARIANTS    4000 /* in all */
#define CHANGES_MAX 4

static unsigned runs, variants = VARIANTS, inputs;

static void run(const char *data, size_t n)
{
    uint8_t *copy = x_malloc(n); /* of its own, so that reading past it shows */
    if (n > 0) memcpy(copy, data, n);
    LLVMFuzzerTestOneInput(copy, n);
    free(copy);
    runs++;
}

static void run_variants(const struct buf *b)
{
    uint64_t seed = 88172645463325252U;
    struct buf changed = {0};
    for (unsigned i = 0; i <= variants / inputs && b->len > 0; i++) {
        buf_reset(&changed);
        buf_add_str(&changed, buf_str(b));
        for (unsigned changes = i % CHANGES_MAX + 1; changes > 0 && changed.len > 0; changes--) {
            seed ^= seed << 13, seed ^= seed >> 7, seed ^= seed << 17;
            size_t at = (size_t)(seed >> 8) % changed.len, from = (size_t)(seed >> 40) % b->len;
            switch (seed >> 32 & 3) {
            case 0:
                changed.len = at;
                break;
            case 1:
                changed.data[at] = (char)seed;
                break;
            case 2:
                changed.data[at] = "<>&'\"=/: \xc3\xf0"[seed % 11];
                break;
            default:
                buf_add(&changed, b->data + from, b->len - from);
                break;
            }
        }
        run(changed.data, changed.len);
    }
    buf_free(&changed);
}

static int run_file(const char *path)
{
    FILE *f = fopen(path, "rb");
    if (f == NULL) {
        perror(path);
        return -1;
    }
    struct buf b = {0};
    size_t n;
    do {
        n = fread(buf_reserve(&b, 65536), 1, 65536, f);
        b.len += n;
    } while (n > 0);
    fclose(f);
    run(b.data, b.len);
    run_variants(&b);
    buf_free(&b);
    return 0;
}

static int run_directory(const char *path)
{
    struct dirent **entries;
    int n = scandir(path, &entries, NULL, alphasort), rc = 0;
    if (n < 0) {
        perror(path);
        return -1;
    }
    inputs = (unsigned)n;
    for (int i = 0; i < n; i++) {
        struct buf b = {0};
        buf_addf(&b, "%s/%s", path, entries[i]->d_name);
        if (entries[i]->d_name[0] != '.' && run_file(buf_cstr(&b)) < 0) rc = -1;
        buf_free(&b);
        free(entries[i]);
    }
    free(entries);
    return rc;
}

int main(int argc, char **argv)
{
    int rc = 0;
    const char *asked = getenv("FUZZ_VARIANTS");
    if (asked != NULL) variants = (unsigned)strtoul(asked, NULL, 10);
    run("", 0);
    for (int i = 1; i < argc; i++) {
        struct stat st;
        bool directory = stat(argv[i], &st) == 0 && S_ISDIR(st.st_mode);
        inputs = 1;
        if ((directory ? run_directory(argv[i]) : run_file(argv[i])) < 0) rc = 1;
    }
    printf("%u inputs replayed\n", runs);
    return rc != 0 || runs < 2; /* an empty corpus is a mistake */
}
