/* The HTTP API of one daemon: listeners, authentication, limits, routes. Calls pipe/ for intake and steering, the store for
 * reading; knows nothing of chains. Loop thread. */
#ifndef API_API_H
#define API_API_H
#include "base/loop.h"
#include "conf/conf.h"
#include "pipe/pipe.h"

struct api;
/* Loads or makes the admin key and binds the sockets, so that a taken port is known before anything is started; nothing is
 * served yet. 0, -errno with one line in err. */
int  api_new(struct loop *, struct conf *, struct pipe *, struct buf *err, struct api **ret);
int  api_open(struct api *, struct buf *err);               /* listens and serves */
void api_started(struct api *);                             /* the store answers: the stored keys can be read */
/* 0: the new settings hold from now on; -EINVAL with a line per setting that needs a restart (nothing changed then) */
int  api_check(const struct api *, const struct conf *, struct conf_errors *);
int  api_reconfigure(struct api *, struct conf *, struct buf *err);        /* after api_check; -errno: the key could not be read */
/* New work is refused (503), waiting clients get their 202, health stays answered. fn once no call is open any more. */
void api_drain(struct api *, loop_fn *fn, void *arg);
struct api *api_free(struct api *);                         /* cuts what is still open; NULL ok; returns NULL */

/* What only the process can do, for the control routes. Before anything is served. */
struct api_hooks {
    void *arg;
    struct plug *plug;
    const char *version;
    /* The files on disk. errs: their mistakes; restart: what is right but cannot be taken over by a running daemon. 0: no mistake */
    int (*check)(void *arg, struct conf_errors *errs, struct conf_errors *restart);
    int (*reload)(void *arg, struct conf_errors *errs);      /* as SIGHUP: 0, or nothing changed and errs says why */
};
void api_hook(struct api *, const struct api_hooks *);

uint16_t api_port(const struct api *);                      /* 0: no TCP listener */
const char *api_key_file(const struct api *);               /* NULL: no generated key */
#endif
