/* What libFuzzer calls, and what a harness says when something that must hold does not. */
#ifndef SIGNET_TESTS_FUZZ_H
#define SIGNET_TESTS_FUZZ_H
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

#define MUST_HOLD(what)                                                                                                                              \
    do {                                                                                                                                             \
        if (!(what)) {                                                                                                                               \
            fprintf(stderr, "%s:%d: does not hold: %s\n", __FILE__, __LINE__, #what);                                                                \
            abort();                                                                                                                                 \
        }                                                                                                                                            \
    } while (0)

#endif
