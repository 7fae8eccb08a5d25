#ifndef KEDGE_PROGRAM_H
#define KEDGE_PROGRAM_H
#include "observe.h"

/* program_kind says whether the file at path, or the interpreter that it
 * names, can be observed. What a stripped or unreadable file hides, the
 * missing HELLO of its process shows. */
enum blocked program_kind(int dir, const char *path);

#endif
