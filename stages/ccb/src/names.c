// Names: every name of the program is kept once, in a hash table, and what it
// means is found in it: a keyword, a macro, a symbol, a tag, a label. So two
// names are the same when their addresses are, and nothing else is looked up.

struct macro;
struct symbol;
struct label;
struct object;

struct name {
  struct name *name_next;       // of the same hash
  char *name_text;
  long name_length;
  long keyword;                 // token kind of a keyword, or 0
  long directive;               // which directive of the preprocessor, or 0
  struct macro *macro;
  struct symbol *ordinary;      // innermost variable, function, type, constant
  struct symbol *tag;           // innermost struct, union, enum
  struct label *label;          // in the function that is being compiled
  struct object *external;      // the object of this name with external linkage
};

enum { NAME_BUCKETS = 16384 };
struct name *name_buckets[NAME_BUCKETS];

struct name *name_of(char *text, long n)
{
  long hash = n;
  long i = 0;
  while (i < n) {
    hash = (hash * 31 + (text[i] & 255)) & 0xffffff;
    i = i + 1;
  }
  hash = (hash ^ (hash >> 10)) & (NAME_BUCKETS - 1);
  struct name *name = name_buckets[hash];
  while (name) {
    if (name->name_length == n && same_bytes(name->name_text, text, n))
      return name;
    name = name->name_next;
  }
  name = (struct name *)allocate((long)sizeof(struct name));
  name->name_text = text_of(text, n);
  name->name_length = n;
  name->name_next = name_buckets[hash];
  name_buckets[hash] = name;
  return name;
}

struct name *name_of_text(char *text)
{
  return name_of(text, length_of(text));
}
