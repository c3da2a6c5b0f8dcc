/* One scratch folder per test program, made at the first call. One thread. */
#ifndef TMP_H
#define TMP_H
const char *tmp_dir(void);                                 /* absolute; under the working folder, else under /tmp */
void tmp_clean(void);                                      /* removes it and all in it; a later tmp_dir makes a new one */
#endif
