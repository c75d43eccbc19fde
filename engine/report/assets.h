/* The pages' fixed parts, made from files at build time by embed.py: NAME and NAME_bytes. A 0
 * follows each.
 */
#ifndef ENGINE_REPORT_ASSETS_H
#define ENGINE_REPORT_ASSETS_H

#include <stddef.h>

extern const char report_page[], report_style[], report_script[], report_common[], report_chartjs[],
    report_gallery[], report_sweep_page[], report_sweep_script[];
extern const size_t report_page_bytes, report_style_bytes, report_script_bytes, report_common_bytes,
    report_gallery_bytes, report_chartjs_bytes, report_sweep_page_bytes, report_sweep_script_bytes;

#endif
