/* What every unit test includes first: cmocka needs these headers before its own. */
#ifndef SIGNET_TESTS_UNIT_H
#define SIGNET_TESTS_UNIT_H
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define UNIT_UNUSED(x) (void)(x)

#endif
