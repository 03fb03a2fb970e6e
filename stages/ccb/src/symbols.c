// Symbols: what a name means within a scope; and objects: what has an address in
// the finished program. A local variable is a symbol without an object.

enum { NOWHERE, IN_CODE, IN_DATA, IN_ZERO };

struct object {
  struct object *object_next;   // all objects are in one list
  char *object_name;
  struct type *object_type;
  long object_section;          // NOWHERE: not defined, at least not yet
  long object_offset;           // in its section
  long object_tentative;        // defined without a value: zero, if nothing else
  long object_used;             // code or data refers to it
  char *object_file;            // where it was seen first
  long object_line;
};

struct object *objects;
struct object *last_object;

enum { S_OBJECT, S_LOCAL, S_TYPE, S_CONSTANT, S_TAG };

struct symbol {
  struct symbol *symbol_next;   // in the same scope
  struct symbol *symbol_outer;  // what the name meant outside
  struct name *symbol_name;
  long symbol_kind;
  long symbol_level;            // depth of its scope: 0 the unit
  struct type *symbol_type;
  long symbol_value;            // of a constant; offset from rbp of a local
  struct object *symbol_object;
  long symbol_static;           // an object that only this unit sees
};

struct scope {
  struct scope *scope_outer;
  struct symbol *scope_symbols;
  long scope_level;
};

struct scope *scope;

void enter_scope(void)
{
  struct scope *s = (struct scope *)allocate((long)sizeof(struct scope));
  s->scope_outer = scope;
  if (scope)
    s->scope_level = scope->scope_level + 1;
  scope = s;
}

void leave_scope(void)
{
  struct symbol *s = scope->scope_symbols;
  while (s) {
    if (s->symbol_kind == S_TAG)
      s->symbol_name->tag = s->symbol_outer;
    else
      s->symbol_name->ordinary = s->symbol_outer;
    s = s->symbol_next;
  }
  scope = scope->scope_outer;
}

// declare adds a symbol to the current scope, where it must be new.
struct symbol *declare(struct name *name, long symbol, struct type *type)
{
  struct symbol *s = (struct symbol *)allocate((long)sizeof(struct symbol));
  s->symbol_outer = name->ordinary;
  if (symbol == S_TAG)
    s->symbol_outer = name->tag;
  if (s->symbol_outer && s->symbol_outer->symbol_level == scope->scope_level)
    fail_name("declared twice", name->name_text);
  s->symbol_name = name;
  s->symbol_kind = symbol;
  s->symbol_type = type;
  s->symbol_level = scope->scope_level;
  s->symbol_next = scope->scope_symbols;
  scope->scope_symbols = s;
  if (symbol == S_TAG)
    name->tag = s;
  else
    name->ordinary = s;
  return s;
}

struct object *new_object(char *name, struct type *type)
{
  struct object *o = (struct object *)allocate((long)sizeof(struct object));
  o->object_name = name;
  o->object_type = type;
  o->object_file = here_file;
  o->object_line = here_line;
  if (last_object)
    last_object->object_next = o;
  else
    objects = o;
  last_object = o;
  return o;
}

// external_object gives the one object of this name that all units share.
struct object *external_object(struct name *name, struct type *type)
{
  if (!name->external)
    name->external = new_object(name->name_text, type);
  return name->external;
}

// The frame of the function that is being compiled: bytes below rbp. Room of a
// block or a statement is given back at its end.

long frame_used;
long frame_most;

long new_local(long size, long align)
{
  frame_used = align_up(frame_used + size, align);
  if (frame_used > frame_most)
    frame_most = frame_used;
  if (frame_used > SIZE_LIMIT)
    fail("too many local variables");
  return -frame_used;
}
