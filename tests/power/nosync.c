/* Loaded before libc, it makes a program that never waits for the disk: what such a program promises,
   power cuts must disprove, or they are none. */
#define _GNU_SOURCE
#include <sys/types.h>

int fsync(int file) { (void)file; return 0; }
int fdatasync(int file) { (void)file; return 0; }
int syncfs(int file) { (void)file; return 0; }
int sync_file_range(int file, off_t from, off_t len, unsigned flags)
{
    (void)file, (void)from, (void)len, (void)flags;
    return 0;
}
