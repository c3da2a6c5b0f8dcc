/* Routes of the stored keys. Loop thread. */
#ifndef API_KEY_H
#define API_KEY_H
#include "api/call.h"
void key_list(struct call *);
void key_create(struct call *);
void key_revoke(struct call *);
#endif
