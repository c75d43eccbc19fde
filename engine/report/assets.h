/* The pages' fixed parts, made from files at build time by embed.py: NAME and NAME_bytes. A 0
 * follows each.
 */
#ifndef ENGINE_REPORT_ASSETS_H
#define ENGINE_REPORT_ASSETS_H

#include <stddef.h>

#define ASSET(name)                                                                                \
    extern const char name[];                                                                      \
    extern const size_t name##_bytes

ASSET(report_head);
ASSET(report_tail);
ASSET(report_page);
ASSET(report_sweep_page);
ASSET(report_compare_page);
ASSET(report_style);
ASSET(report_chartjs);
ASSET(report_common);
ASSET(report_script);
ASSET(report_gallery);
ASSET(report_sweep_script);
ASSET(report_multiples);
ASSET(report_compare_script);

#undef ASSET

#endif
