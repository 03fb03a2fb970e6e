/* Streams: buffered files.

   A stream's buffer holds either bytes that were read and not taken yet, from
   `position` to `end`, or bytes that were written and not passed on, from 1 to
   `position`. Place 0 is free so that ungetc always has one place. stdout is
   passed on when the buffer is full and at the end, stderr after every call, in one
   piece if it fits into the buffer. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "libc.h"

enum {
    READABLE = 1,
    WRITABLE = 2,
    AT_END = 4,
    FAILED = 8,
    WRITING = 16,      /* what is in the buffer was written */
    AT_ONCE = 32,      /* nothing stays in the buffer */
    MY_MEMORY = 64     /* fclose frees it */
};

enum { BUFFER = 32768 };

struct __stream {
    int fd;
    int state;
    size_t position;
    size_t end;
    FILE *next;
    unsigned char *buffer;
};

static unsigned char error_buffer[BUFFER + 1];
static unsigned char output_buffer[BUFFER + 1];
static unsigned char input_buffer[BUFFER + 1];

static FILE error_stream = { 2, WRITABLE | AT_ONCE, 1, 1, NULL, error_buffer };
static FILE output_stream = { 1, WRITABLE, 1, 1, &error_stream, output_buffer };
static FILE input_stream = { 0, READABLE, 1, 1, &output_stream, input_buffer };

FILE *stdin = &input_stream;
FILE *stdout = &output_stream;
FILE *stderr = &error_stream;

static FILE *streams = &input_stream;
static int output_lost;

/* Writes all of it; -1 if that fails. */
static int write_all(FILE *stream, const unsigned char *bytes, size_t n)
{
    ssize_t done;

    while (n > 0) {
        done = write(stream->fd, bytes, n);
        if (done <= 0) {
            if (done == 0)
                errno = EIO;
            stream->state |= FAILED;
            output_lost = 1;
            return -1;
        }
        bytes += done;
        n -= (size_t)done;
    }
    return 0;
}

static int flush(FILE *stream)
{
    size_t n;

    n = stream->position - 1;
    stream->position = stream->end = 1;
    stream->state &= ~WRITING;
    return write_all(stream, stream->buffer + 1, n);
}

/* Makes the buffer one for writing. What was read ahead is given back, so that
   the file's place is where the program thinks it is. */
static int begin_writing(FILE *stream)
{
    if (stream->state & WRITING)
        return 0;
    if (!(stream->state & WRITABLE)) {
        errno = EBADF;
        stream->state |= FAILED;
        return -1;
    }
    if (stream->end > stream->position &&
        lseek(stream->fd, -(long)(stream->end - stream->position), SEEK_CUR) < 0) {
        stream->state |= FAILED;
        return -1;
    }
    stream->position = stream->end = 1;
    stream->state |= WRITING;
    return 0;
}

/* Reads something into an empty buffer; -1 at the end and on failure. */
static int fill(FILE *stream)
{
    ssize_t n;

    if (!(stream->state & READABLE)) {
        errno = EBADF;
        stream->state |= FAILED;
        return -1;
    }
    if ((stream->state & WRITING) && flush(stream) < 0)
        return -1;
    if (stream->state & AT_END)
        return -1;
    n = read(stream->fd, stream->buffer + 1, BUFFER);
    if (n <= 0) {
        stream->state |= n == 0 ? AT_END : FAILED;
        return -1;
    }
    stream->position = 1;
    stream->end = 1 + (size_t)n;
    return 0;
}

int __flush_all(void)
{
    FILE *stream;

    for (stream = streams; stream; stream = stream->next)
        if (stream->state & WRITING)
            flush(stream);
    return output_lost;
}

/* Opening and closing */

/* The state and the flags of open for a mode such as "rb" or "w+"; 0 if there is
   no such mode. */
static int parse_mode(const char *mode, int *flags)
{
    int state;

    switch (*mode++) {
    case 'r':
        state = READABLE;
        *flags = O_RDONLY;
        break;
    case 'w':
        state = WRITABLE;
        *flags = O_WRONLY | O_CREAT | O_TRUNC;
        break;
    case 'a':
        state = WRITABLE;
        *flags = O_WRONLY | O_CREAT | O_APPEND;
        break;
    default:
        return 0;
    }
    for (; *mode; mode++) {
        if (*mode == '+') {
            state = READABLE | WRITABLE;
            *flags = (*flags & ~(O_RDONLY | O_WRONLY)) | O_RDWR;
        } else if (*mode != 'b') {
            return 0;
        }
    }
    return state;
}

static FILE *new_stream(int fd, int state)
{
    FILE *stream;

    stream = malloc(sizeof *stream + BUFFER + 1);
    if (!stream)
        return NULL;
    stream->buffer = (unsigned char *)(stream + 1);
    stream->fd = fd;
    stream->state = state | MY_MEMORY;
    stream->position = stream->end = 1;
    stream->next = streams;
    streams = stream;
    return stream;
}

FILE *fopen(const char *path, const char *mode)
{
    FILE *stream;
    int state, flags, fd;

    state = parse_mode(mode, &flags);
    if (!state) {
        errno = EINVAL;
        return NULL;
    }
    fd = open(path, flags | O_CLOEXEC, 0666);
    if (fd < 0)
        return NULL;
    stream = new_stream(fd, state);
    if (!stream)
        close(fd);
    return stream;
}

FILE *fdopen(int fd, const char *mode)
{
    int state, flags;

    state = parse_mode(mode, &flags);
    if (!state) {
        errno = EINVAL;
        return NULL;
    }
    return new_stream(fd, state);
}

int fclose(FILE *stream)
{
    FILE **link;
    int status;

    status = fflush(stream);
    for (link = &streams; *link != stream; link = &(*link)->next)
        if (!*link)
            __fatal("fclose of a stream that is not open");
    *link = stream->next;
    if (close(stream->fd) < 0) {
        if (stream->state & WRITABLE)
            output_lost = 1;
        status = EOF;
    }
    if (stream->state & MY_MEMORY)
        free(stream);
    return status;
}

int fflush(FILE *stream)
{
    int status;

    if (!stream) {
        status = 0;
        for (stream = streams; stream; stream = stream->next)
            if ((stream->state & WRITING) && flush(stream) < 0)
                status = EOF;
        return status;
    }
    if (!(stream->state & WRITING))
        return 0;
    return flush(stream) < 0 ? EOF : 0;
}

int fileno(FILE *stream)
{
    return stream->fd;
}

int feof(FILE *stream)
{
    return (stream->state & AT_END) != 0;
}

int ferror(FILE *stream)
{
    return (stream->state & FAILED) != 0;
}

void clearerr(FILE *stream)
{
    stream->state &= ~(AT_END | FAILED);
}

/* Reading */

int fgetc(FILE *stream)
{
    if ((stream->state & WRITING) || stream->position == stream->end)
        if (fill(stream) < 0)
            return EOF;
    return stream->buffer[stream->position++];
}

int getc(FILE *stream)
{
    return fgetc(stream);
}

int getchar(void)
{
    return fgetc(stdin);
}

int ungetc(int c, FILE *stream)
{
    if (c == EOF || (stream->state & WRITING) || !(stream->state & READABLE) ||
        stream->position == 0)
        return EOF;
    stream->buffer[--stream->position] = (unsigned char)c;
    stream->state &= ~AT_END;
    return (unsigned char)c;
}

size_t fread(void *buffer, size_t size, size_t count, FILE *stream)
{
    char *to;
    size_t total, left, n;

    if (size == 0 || count == 0)
        return 0;
    if (count > (size_t)-1 / size)
        __fatal("fread of more than there can be");
    to = buffer;
    total = size * count;
    for (left = total; left > 0; left -= n) {
        if ((stream->state & WRITING) || stream->position == stream->end)
            if (fill(stream) < 0)
                break;
        n = stream->end - stream->position;
        if (n > left)
            n = left;
        memcpy(to, stream->buffer + stream->position, n);
        stream->position += n;
        to += n;
    }
    return (total - left) / size;
}

char *fgets(char *line, int size, FILE *stream)
{
    int c, n;

    if (size <= 0)
        return NULL;
    for (n = 0; n < size - 1;) {
        c = fgetc(stream);
        if (c == EOF) {
            if (n == 0 || ferror(stream))
                return NULL;
            break;
        }
        line[n++] = (char)c;
        if (c == '\n')
            break;
    }
    line[n] = 0;
    return line;
}

/* Writing */

static int put(FILE *stream, const unsigned char *bytes, size_t n)
{
    size_t room;

    if (begin_writing(stream) < 0)
        return -1;
    while (n > 0) {
        room = BUFFER + 1 - stream->position;
        if (room > n)
            room = n;
        memcpy(stream->buffer + stream->position, bytes, room);
        stream->position += room;
        bytes += room;
        n -= room;
        if (stream->position == BUFFER + 1) {
            if (flush(stream) < 0)
                return -1;
            stream->state |= WRITING;
        }
    }
    if (stream->state & AT_ONCE)
        return flush(stream);
    return 0;
}

int __hold(FILE *stream)
{
    int at_once;

    at_once = stream->state & AT_ONCE;
    stream->state &= ~AT_ONCE;
    return at_once;
}

int __let_go(FILE *stream, int held)
{
    stream->state |= held;
    return held ? flush(stream) : 0;
}

size_t fwrite(const void *buffer, size_t size, size_t count, FILE *stream)
{
    if (size == 0 || count == 0)
        return 0;
    if (count > (size_t)-1 / size)
        __fatal("fwrite of more than there can be");
    if (put(stream, buffer, size * count) < 0)
        return 0;
    return count;
}

int fputc(int c, FILE *stream)
{
    unsigned char byte;

    byte = (unsigned char)c;
    return put(stream, &byte, 1) < 0 ? EOF : byte;
}

int putc(int c, FILE *stream)
{
    return fputc(c, stream);
}

int putchar(int c)
{
    return fputc(c, stdout);
}

int fputs(const char *text, FILE *stream)
{
    return put(stream, (const unsigned char *)text, strlen(text));
}

int puts(const char *text)
{
    if (fputs(text, stdout) < 0)
        return EOF;
    return fputc('\n', stdout);
}

void perror(const char *prefix)
{
    if (prefix && *prefix)
        fprintf(stderr, "%s: %s\n", prefix, strerror(errno));
    else
        fprintf(stderr, "%s\n", strerror(errno));
}

/* Places */

int fseek(FILE *stream, long offset, int whence)
{
    if (stream->state & WRITING) {
        if (flush(stream) < 0)
            return -1;
    } else if (whence == SEEK_CUR) {
        offset -= (long)(stream->end - stream->position);
    }
    if (lseek(stream->fd, offset, whence) < 0)
        return -1;
    stream->position = stream->end = 1;
    stream->state &= ~AT_END;
    return 0;
}

long ftell(FILE *stream)
{
    long place;

    place = lseek(stream->fd, 0, SEEK_CUR);
    if (place < 0)
        return -1;
    if (stream->state & WRITING)
        return place + (long)(stream->position - 1);
    return place - (long)(stream->end - stream->position);
}

void rewind(FILE *stream)
{
    fseek(stream, 0, SEEK_SET);
    clearerr(stream);
}
