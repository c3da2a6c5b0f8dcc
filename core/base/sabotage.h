/* Planted bugs, to prove that the tests would see a real one. SABOTAGE("name") is true only in a build made with
 * -DMINTD_SABOTAGE (never a preset, never installed) and only when the environment says MINTD_SABOTAGE=name; everywhere else it
 * is the constant false and leaves no code behind. Any thread. Names and what must catch them: tests/e2e/sabotage.py. */
#ifndef BASE_SABOTAGE_H
#define BASE_SABOTAGE_H
#include <stdbool.h>
#ifdef MINTD_SABOTAGE
#include <stdlib.h>
#include <string.h>
static inline bool sabotage_on(const char *name)
{
    const char *wanted = getenv("MINTD_SABOTAGE");
    return wanted && !strcmp(wanted, name);
}
#define SABOTAGE(name) sabotage_on(name)
#else
#define SABOTAGE(name) false
#endif
#endif
