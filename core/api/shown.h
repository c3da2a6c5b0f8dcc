/* Documents as they were shown last. What a thousand clients ask for each second is made once: it is shown again while this process
 * has written nothing since and it is younger than SHOWN_MS, because another instance may have. Bounded; knows no format. Loop thread. */
#ifndef API_SHOWN_H
#define API_SHOWN_H
#include <stdbool.h>
#include <stdint.h>
#include "base/str.h"

enum { SHOWN_MS = 250, SHOWN_BYTES = 4096 };               /* larger ones are made each time */
struct shown;
struct shown *shown_new(void);                 /* NULL: no memory */
struct shown *shown_free(struct shown *);      /* NULL ok; returns NULL */
/* The document of that id and kind as bytes that live until the next call here; n 0: it has to be made. written: pipe_written now */
struct mintd_str shown_get(const struct shown *, uint64_t id, uint32_t kind, uint64_t written, uint64_t now_ms);
/* written, now_ms: from before the first read that it was made of */
void shown_put(struct shown *, uint64_t id, uint32_t kind, uint64_t written, uint64_t now_ms, struct mintd_str text);
#endif
