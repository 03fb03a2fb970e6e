/* mkdir FOLDER...  makes each FOLDER and those above it, as far as they are not
   there, with mode 0755. */
#include "tool.h"

int main(int argc, char **argv)
{
    int i;

    start("mkdir");
    if (argc < 2)
        usage("FOLDER...");
    for (i = 1; i < argc; i++) {
        if (argv[i][0] == 0)
            fail("a folder without a name");
        make_folders(argv[i], 1);
    }
    return 0;
}
