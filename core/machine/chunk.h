/* The chunk's state machine as pure data: names, legal transitions, what a state waits for. No I/O, no clock, no libuv.
 * States are MINTD_ST_* of the ABI; the picture is in docs/architecture.md. Any thread. */
#ifndef MACHINE_CHUNK_H
#define MACHINE_CHUNK_H
#include <stdbool.h>
#include <stdint.h>

const char *chunk_state_name(uint32_t state);              /* "accepted" ... "moved"; "unknown" */
bool chunk_terminal(uint32_t state);                       /* DONE, FAILED, CANCELLED, MOVED: never left again */
/* May a chunk with attempt_no attempts, the newest proven dead or not, go from -> to? The store enforces the same rule. */
bool chunk_may(uint32_t from, uint32_t to, uint32_t attempt_no, bool proven_dead);

/* What an owner does with a chunk of this state: recovery is nothing but this. */
enum chunk_next { CHUNK_CLAIM, CHUNK_UPLOAD, CHUNK_PREPARE, CHUNK_OBSERVE, CHUNK_REST };
enum chunk_next chunk_next(uint32_t state);
#endif
