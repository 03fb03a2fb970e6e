/* cp FROM TO         copies the file FROM to the file TO
   cp FROM... FOLDER/  copies each file into the folder, which the slash marks

   A copy has mode 0755 if its original can be run by its owner, else 0644. */
#include <stdlib.h>
#include <string.h>
#include "tool.h"

static void copy_into(const char *from, const char *folder)
{
    const char *name;
    char *to;

    name = strrchr(from, '/');
    name = name ? name + 1 : from;
    if (*name == 0)
        fail("%s is not the name of a file", from);
    to = need(strlen(folder) + strlen(name) + 1);
    strcpy(to, folder);
    strcat(to, name);
    copy_file(from, to);
    free(to);
}

int main(int argc, char **argv)
{
    const char *last;
    int i;

    start("cp");
    if (argc < 3)
        usage("FROM TO | cp FROM... FOLDER/");
    last = argv[argc - 1];
    if (*last && last[strlen(last) - 1] == '/') {
        for (i = 1; i < argc - 1; i++)
            copy_into(argv[i], last);
    } else {
        if (argc != 3)
            usage("FROM TO | cp FROM... FOLDER/");
        copy_file(argv[1], last);
    }
    return 0;
}
