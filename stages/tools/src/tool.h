/* What the tools share. Each is one program: its own file and tool.c, with the
   chain's C library or any other.

   All of them treat a mistake in the arguments, a failing read or write and
   wrong input alike: one line on stderr that says which file and why, exit
   status 1, and no half-written output file left behind. */
#ifndef TOOL_H
#define TOOL_H

#include <stddef.h>
#include <stdio.h>

/* start names the program for its messages. */
void start(const char *program);

/* fail ends the program with a message. */
void fail(const char *format, ...);

/* usage ends the program and says how it is called. */
void usage(const char *arguments);

/* reason says in words why the last call of the library failed. */
const char *reason(void);

/* need is malloc that does not fail. */
void *need(size_t size);

/* "-" is standard input or output. The file that is being created is removed
   again if the program fails before finish, which closes it. */
FILE *open_input(const char *path);
FILE *create(const char *path);
void finish(FILE *file, const char *path);

/* write_bytes writes all n bytes. */
void write_bytes(FILE *file, const char *path, const void *bytes, size_t n);

/* read_file gives all of a file, with a 0 behind it, and its size. */
unsigned char *read_file(const char *path, size_t *size);

/* copy_file makes the file `to` with the bytes of `from`; it can be run if that
   could. */
void copy_file(const char *from, const char *to);

/* make_folders makes those folders of the path that are not there: all before
   its last slash, and the path itself if `last` is set. */
void make_folders(const char *path, int last);

/* crc32_of continues the CRC-32 of gzip (polynomial 0x04c11db7, bits reversed)
   with n bytes; it begins with 0. */
unsigned int crc32_of(unsigned int crc, const unsigned char *bytes, size_t n);

#endif
