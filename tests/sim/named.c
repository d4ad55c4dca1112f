/* Named schedules: what was found once, step by step. */
#include "world.h"
#include <string.h>

unsigned named_run(const char *name)
{
    (void)name;
    return 0;
}
