/* One log grammar: `level key=value ... msg="..."`, fixed keys first (instance, op, chunk, request_id), one line per record on
 * stderr; or one JSON object per line. Under journald (JOURNAL_STREAM) a <N> priority prefix. Any thread.
 * Values are escaped; registered secrets are replaced by ***. A function either returns an error or logs it, never both. */
#ifndef BASE_LOG_H
#define BASE_LOG_H
#include <stdbool.h>
#include <stdint.h>
#include "base/str.h"

void log_setup(uint32_t level, bool json);                 /* MINTD_ERROR..MINTD_DEBUG; at start and on reload */
bool log_on(uint32_t level);
uint32_t log_level(void);
void log_mask(struct mintd_str, struct buf *);             /* appends it with every registered secret as *** */
void log_secret(struct mintd_str value);                   /* mask this value (>= 4 bytes) from now on; copied */
void log_close(void);                                      /* frees the registered secrets */
void log_fields(uint32_t level, struct mintd_str msg, const struct mintd_field *f, uint32_t n);
void log_sink(void (*fn)(void *arg, struct mintd_str line), void *arg);  /* tests: lines go there instead; NULL: stderr */

/* printf-style message without fields; lower case, no full stop, the reason always */
void log_msg(uint32_t level, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
#define log_error(...) log_msg(MINTD_ERROR, __VA_ARGS__)
#define log_warn(...)  log_msg(MINTD_WARN, __VA_ARGS__)
#define log_info(...)  log_msg(MINTD_INFO, __VA_ARGS__)
#define log_debug(...) do { if (log_on(MINTD_DEBUG)) log_msg(MINTD_DEBUG, __VA_ARGS__); } while (0)
#endif
