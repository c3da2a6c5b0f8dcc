/* Named crash points around every side effect. MINTD_CRASH_AT=name:n kills the process at the n-th passing of `name`
 * (SIGKILL to itself, nothing is flushed). Compiled out unless MINTD_CRASH_POINTS is defined (not in release builds).
 * The list of names is tests/crash-points.txt; a test compares it with the source. */
#ifndef BASE_CRASH_H
#define BASE_CRASH_H
#ifdef MINTD_CRASH_POINTS
void crash_point(const char *name);
#else
static inline void crash_point(const char *name) { (void)name; }
#endif
#define CRASH(name) crash_point(name)
#endif
