// The command line.

enum { FILES_LIMIT = 256 };
char *unit_files[FILES_LIMIT];

// definition makes a line for the preprocessor of a -D.
char *definition(char *text)
{
  long n = 0;
  while (text[n] && text[n] != '=')
    n = n + 1;
  char *name = text_of(text, n);
  if (!text[n])
    return join3("#define ", name, " 1\n");
  return join3("#define ", name, join3(" ", text + n + 1, "\n"));
}

long start(long argc, char **argv)
{
  char *definitions = "#define __CCB__ 1\n#define __STDC__ 1\n#define __x86_64__ 1\n#define __linux__ 1\n";
  char *out = 0;
  long count = 0;
  long i = 1;
  lexer_start();
  preprocessor_start();
  types_start();
  while (i < argc) {
    char *a = argv[i];
    // An option's value stands with it or behind it.
    char *value = a;
    long is_trace = same_text(a, "-t");
    if (a[0] == '-' && !is_trace) {
      value = a + 2;
      if (a[1] != 'o' && a[1] != 'I' && a[1] != 'D')
        fail_name("unknown option", a);
      if (!value[0]) {
        i = i + 1;
        if (i == argc)
          fail_name("an option without its value", a);
        value = argv[i];
      }
    }
    if (is_trace) {
      tracing = 1;
    } else if (a[0] != '-') {
      if (count == FILES_LIMIT)
        fail("too many files");
      unit_files[count] = a;
      count = count + 1;
    } else if (a[1] == 'o') {
      if (out)
        fail("-o given twice");
      out = value;
    } else if (a[1] == 'I') {
      if (include_count == INCLUDE_LIMIT)
        fail("too many -I");
      include_directories[include_count] = value;
      include_count = include_count + 1;
    } else {
      definitions = join3(definitions, definition(value), "");
    }
    i = i + 1;
  }
  if (!out || !count)
    fail("usage: ccb -o OUT [-t] [-I DIR]... [-D NAME[=VALUE]]... FILE.c...");
  for (i = 0; i < count; i = i + 1)
    unit(unit_files[i], definitions);
  write_program(out);
  return 0;
}
