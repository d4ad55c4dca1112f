/* Work that would hold up a worker (password hashing, files), done on libuv's thread pool. */
#ifndef SIGNET_IO_OFFLOAD_H
#define SIGNET_IO_OFFLOAD_H

/* Workers only. work(arg) runs on a pool thread and must touch nothing but what arg owns; then done(arg) runs on the calling worker, never before
 * return. The worker's loop does not end before done has run, so arg is always given back. */
void worker_offload(void (*work)(void *arg), void (*done)(void *arg), void *arg);

#endif
