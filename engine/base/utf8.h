/* UTF-8, for formats that insist on it: file and class names come in whatever bytes. */
#ifndef ENGINE_BASE_UTF8_H
#define ENGINE_BASE_UTF8_H

#include "engine/base/error.h"

/* The next character of a text, which `*text` is moved past; U+FFFD for each byte that is none. 0
 * at the end, where it stays. */
uint32_t utf8_next(const char **text);

/* A copy in which U+FFFD stands for each byte that is no UTF-8. The caller frees. */
enum colonnade_status utf8_repair(char **repaired, const char *text, struct colonnade_error *error);

#endif
