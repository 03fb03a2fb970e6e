/* run LIST...  runs the commands in each LIST, a text:

     # how to build it
     cc -c one.c                 a command: a program and its arguments
     cc -o program               a line that begins with a blank goes on with
       one.o two.o               the command of the line before
     cd folder                   changes the folder for what follows

   Words are what stands between blanks and tabs; there are no quotes, variables
   or redirections. A word that begins with # and the rest of its line are a
   comment; it does not end a command, so that a command's arguments can have
   comments between them. The program is the path of a file, it is not searched
   for. Commands get stdin, stdout, stderr and the environment of run.

   The first command that does not end with status 0 ends run, with status 1 and
   a message that names the line where it begins. */
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>
#include "tool.h"

static const char *list;        /* the name of the LIST */
static int command_line;        /* where the command begins */
static char **words;            /* the command, up to `count` */
static size_t count;
static size_t room;

static void add_word(char *word)
{
    if (count + 1 >= room) {
        room = room ? room * 2 : 64;
        words = realloc(words, room * sizeof *words);
        if (!words)
            fail("out of memory");
    }
    words[count++] = word;
    words[count] = NULL;
}

static void change_folder(void)
{
    if (count != 2)
        fail("%s:%d: cd takes one folder", list, command_line);
    if (chdir(words[1]) != 0)
        fail("%s:%d: cd %s: %s", list, command_line, words[1], reason());
}

static void run_program(void)
{
    pid_t child;
    int status;

    child = fork();
    if (child < 0)
        fail("%s:%d: %s", list, command_line, reason());
    if (child == 0) {
        execve(words[0], words, environ);
        fprintf(stderr, "%s: %s\n", words[0], reason());
        _exit(127);
    }
    if (waitpid(child, &status, 0) != child)
        fail("%s:%d: %s", list, command_line, reason());
    if (!WIFEXITED(status))
        fail("%s:%d: %s: ended by signal %d", list, command_line, words[0], WTERMSIG(status));
    if (WEXITSTATUS(status) != 0)
        fail("%s:%d: %s: exit status %d", list, command_line, words[0], WEXITSTATUS(status));
}

static void run_command(void)
{
    if (count == 0)
        return;
    if (strcmp(words[0], "cd") == 0)
        change_folder();
    else
        run_program();
    count = 0;
}

static int is_blank(char c)
{
    return c == ' ' || c == '\t';
}

/* Cuts a line into words; a comment ends it. */
static void add_words(char *p)
{
    for (;;) {
        while (is_blank(*p))
            p++;
        if (*p == 0 || *p == '#')
            return;
        add_word(p);
        while (*p && !is_blank(*p))
            p++;
        if (*p)
            *p++ = 0;
    }
}

static void run_list(void)
{
    char *text;
    char *line;
    char *end;
    size_t size;
    int number;

    text = (char *)read_file(list, &size);
    if (strlen(text) != size)
        fail("%s: there is a NUL in it", list);
    if (strchr(text, '\r'))
        fail("%s: there is a carriage return in it", list);
    number = 1;
    for (line = text; *line; line = end, number++) {
        end = strchr(line, '\n');
        if (!end)
            fail("%s:%d: the last line has no end", list, number);
        *end++ = 0;
        if (*line == 0 || *line == '#')
            continue;
        if (!is_blank(*line)) {
            run_command();
            command_line = number;
        }
        if (count == 0 && is_blank(*line) && line[strspn(line, " \t")] != 0 &&
            line[strspn(line, " \t")] != '#')
            fail("%s:%d: there is no command before to go on with", list, number);
        add_words(line);
    }
    run_command();
    free(text);
}

int main(int argc, char **argv)
{
    int i;

    start("run");
    if (argc < 2)
        usage("LIST...");
    for (i = 1; i < argc; i++) {
        list = argv[i];
        run_list();
    }
    return 0;
}
