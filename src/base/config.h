/* The configuration file (signet.conf, INI): rows of src/tables/options.def. Read at start; at a reload the rows of the section tc count anew. */
#ifndef SIGNET_BASE_CONFIG_H
#define SIGNET_BASE_CONFIG_H
#include <stdbool.h>
#include <stdint.h>
#include "base/buf.h"
#include "base/err.h"

/* OPTION(section, name, TYPE, default, min, max, unit, help). TYPE: INT (int64_t), BOOL (bool), TEXT (char *), LIST (space-separated char *). */
struct config {
#define CONFIG_FIELD_INT int64_t
#define CONFIG_FIELD_BOOL bool
#define CONFIG_FIELD_TEXT char *
#define CONFIG_FIELD_LIST char *
#define OPTION(section, name, type, def, min, max, unit, help) CONFIG_FIELD_##type section##_##name;
#include "tables/options.def"
#undef OPTION
};
/* Defaults, then the file (NULL: defaults only), then "section.name=value" overrides. Every error names file, line, and what would be right;
 * unknown sections and options are errors, with the nearest name suggested. */
must_check int config_load(struct config *c, const char *path, const char *const *overrides, unsigned n_overrides, struct err *err);
void config_free(struct config *c);
void config_print(const struct config *c, struct buf *out); /* as a config file; secrets blanked */

#endif
