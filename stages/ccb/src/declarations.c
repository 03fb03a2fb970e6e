// Declarations: specifiers, declarators, structs and enums, and what a declaration
// makes of its names.

struct type *specifiers(void);
void function_body(struct symbol *s);

enum { NO_STORAGE, STORAGE_TYPEDEF, STORAGE_EXTERN, STORAGE_STATIC, STORAGE_AUTO };

long storage;                   // the second result of specifiers
struct name *declared_name;     // the second result of declarator, or 0

// Attributes are skipped, but only those that change nothing about the result.
char *attribute_names[] = {
  "noreturn", "unused", "used", "format", "pure", "noinline", "always_inline", "malloc",
  "nonnull", "deprecated", "warn_unused_result", "nothrow", "leaf", "gnu_inline", 0
};

// check_attribute takes a name with or without underscores around it.
void check_attribute(struct name *name)
{
  char *text = name->name_text;
  long n = name->name_length;
  long i = 0;
  if (n > 4 && text[0] == '_' && text[1] == '_') {
    text = text + 2;
    n = n - 4;
  }
  while (attribute_names[i]) {
    if (n == length_of(attribute_names[i]) && same_bytes(attribute_names[i], text, n))
      return;
    i = i + 1;
  }
  fail_name("this attribute is not accepted", name->name_text);
}

void attributes(void)
{
  while (take(K_ATTRIBUTE) || take(K_ATTRIBUTE_GNU)) {
    long depth = 2;             // of parentheses
    expect(P_OPEN);
    expect(P_OPEN);
    while (depth > 0) {
      if (kind == T_END)
        fail("__attribute__ without an end");
      if (kind == P_OPEN)
        depth = depth + 1;
      if (kind == P_CLOSE)
        depth = depth - 1;
      if (depth == 2 && kind == T_NAME)
        check_attribute(tok->token_name);
      advance();
    }
  }
}

long is_qualifier(long k)
{
  if (k == K_CONST || k == K_CONST_GNU)
    return 1;
  if (k == K_VOLATILE || k == K_VOLATILE_GNU || k == K_VOLATILE_GNU2)
    return 1;
  return k == K_RESTRICT || k == K_RESTRICT_GNU || k == K_RESTRICT_GNU2;
}

long is_inline(long k)
{
  return k == K_INLINE || k == K_INLINE_GNU || k == K_INLINE_GNU2;
}

// begins_type tells whether a type's name starts with this token.
long begins_type(struct token *t)
{
  long k = kind_of(t);
  if (k == T_NAME)
    return t->token_name->ordinary && t->token_name->ordinary->symbol_kind == S_TYPE;
  if (k == K_VOID || k == K_CHAR || k == K_SHORT || k == K_INT || k == K_LONG)
    return 1;
  if (k == K_FLOAT || k == K_DOUBLE || k == K_SIGNED || k == K_SIGNED_GNU || k == K_UNSIGNED)
    return 1;
  if (k == K_STRUCT || k == K_UNION || k == K_ENUM)
    return 1;
  return is_qualifier(k);
}

// begins_declaration: a type or a word that only declarations have.
long begins_declaration(void)
{
  if (begins_type(tok) || is_inline(kind))
    return 1;
  if (kind == K_ATTRIBUTE || kind == K_ATTRIBUTE_GNU || kind == K_EXTENSION || kind == K_REGISTER)
    return 1;
  return kind == K_TYPEDEF || kind == K_EXTERN || kind == K_STATIC || kind == K_AUTO;
}

// Declarators. What stands around the name is gathered from the name outwards,
// and applied to the base type in the opposite order.

struct derivation {
  struct derivation *derivation_next;
  long derivation_kind;         // POINTER, ARRAY or FUNCTION
  long derivation_count;
  struct type *derivation_function;     // its parameters
};

struct derivation *new_derivation(long derived)
{
  struct derivation *d = (struct derivation *)allocate((long)sizeof(struct derivation));
  d->derivation_kind = derived;
  return d;
}

// joined puts one list behind another.
struct derivation *joined(struct derivation *a, struct derivation *b)
{
  struct derivation *d = a;
  if (!a)
    return b;
  long length = 0;
  while (d->derivation_next) {
    d = d->derivation_next;
    length = length + 1;
    if (length > NESTING_LIMIT)
      fail("declarator too long");
  }
  d->derivation_next = b;
  return a;
}

struct type *derive(struct type *base, struct derivation *d)
{
  if (!d)
    return base;
  base = derive(base, d->derivation_next);
  if (d->derivation_kind == POINTER)
    return pointer_to(base);
  if (d->derivation_kind == ARRAY)
    return array_of(base, d->derivation_count);
  struct type *function = function_giving(base);
  function->type_parameters = d->derivation_function->type_parameters;
  function->type_variadic = d->derivation_function->type_variadic;
  function->type_open = d->derivation_function->type_open;
  return function;
}

struct type *declarator(struct type *base);

// parameters reads a parameter list, from behind its parenthesis.
struct type *parameters(void)
{
  struct type *function = new_type(FUNCTION, 1, 1);
  struct parameter *last = 0;
  if (take(P_CLOSE)) {
    function->type_open = 1;
    return function;
  }
  if (kind == K_VOID && kind_of(peek()) == P_CLOSE) {
    advance();
    advance();
    return function;
  }
  while (1) {
    if (take(P_DOTS)) {
      if (!last)
        fail("'...' without a parameter before it");
      function->type_variadic = 1;
      break;
    }
    if (!begins_declaration())
      fail_name("a parameter's type must stand before", spelling());
    struct type *base = specifiers();
    if (storage)
      fail("a parameter has no storage class");
    struct type *type = declarator(base);
    attributes();
    if (type->type_kind == ARRAY)
      type = pointer_to(type->type_base);
    if (type->type_kind == FUNCTION)
      type = pointer_to(type);
    if (type->type_kind == VOID)
      fail("a parameter of type void");
    struct parameter *p = (struct parameter *)allocate((long)sizeof(struct parameter));
    p->parameter_name = declared_name;
    p->parameter_type = type;
    if (last)
      last->parameter_next = p;
    else
      function->type_parameters = p;
    last = p;
    if (!take(P_COMMA))
      break;
  }
  expect(P_CLOSE);
  return function;
}

// suffixes reads the [...] and (...) behind a name.
struct derivation *suffixes(void)
{
  struct derivation *all = 0;
  struct name *name = declared_name;
  while (1) {
    struct derivation *d = 0;
    if (take(P_OPEN_INDEX)) {
      d = new_derivation(ARRAY);
      while (is_qualifier(kind))
        advance();
      d->derivation_count = -1;
      if (kind != P_CLOSE_INDEX)
        d->derivation_count = constant_expression();
      if (kind == P_CLOSE_INDEX && d->derivation_count < -1)
        fail("array with a negative size");
      expect(P_CLOSE_INDEX);
    } else if (take(P_OPEN)) {
      d = new_derivation(FUNCTION);
      d->derivation_function = parameters();
    } else {
      break;
    }
    all = joined(all, d);
  }
  declared_name = name;
  return all;
}

struct derivation *derivations(void)
{
  struct derivation *inner = 0;
  deeper();
  struct derivation *pointers = 0;
  attributes();
  while (take(P_STAR)) {
    pointers = joined(pointers, new_derivation(POINTER));
    while (is_qualifier(kind))
      advance();
    attributes();
  }
  declared_name = 0;
  if (kind == T_NAME) {
    declared_name = tok->token_name;
    advance();
  } else if (kind == P_OPEN) {
    // A parenthesis opens an inner declarator, or the parameters of a function
    // that has no name here.
    struct token *next = peek();
    long inside = kind_of(next);
    if (inside != P_CLOSE && !begins_type(next)) {
      advance();
      inner = derivations();
      expect(P_CLOSE);
    }
  }
  inner = joined(inner, joined(suffixes(), pointers));
  shallower();
  return inner;
}

// declarator reads what stands around a name, or where a name could stand, and
// gives the whole type.
struct type *declarator(struct type *base)
{
  struct derivation *d = derivations();
  return derive(base, d);
}

struct type *type_name(void)
{
  struct type *type = specifiers();
  if (storage)
    fail("a storage class within a type");
  type = declarator(type);
  if (declared_name)
    fail_name("a name within a type", declared_name->name_text);
  return type;
}

// Structs, unions, enums

void struct_members(struct type *s)
{
  while (!take(P_CLOSE_BLOCK)) {
    if (!begins_declaration())
      fail_name("a member's type must stand before", spelling());
    struct type *base = specifiers();
    if (storage)
      fail("a member has no storage class");
    if (kind == P_SEMICOLON) {
      if (base->type_kind == STRUCT)
        add_member(s, 0, base, -1);
    } else {
      while (1) {
        struct type *type = base;
        struct name *name = 0;
        if (kind != P_COLON) {
          type = declarator(base);
          name = declared_name;
          if (!name)
            fail("a member without a name");
        }
        if (take(P_COLON)) {
          long width = constant_expression();
          if (!is_integer(type) || width < 0 || width > type->type_size * 8 || (width == 0 && name))
            fail("wrong bit-field");
          if (width == 0)
            claim_bits(s, 0, type->type_size * 8, 0);
          else
            add_member(s, name, type, width);
        } else {
          if (type->type_kind == FUNCTION)
            fail("a member can not be a function");
          // An array without a size may end a struct: it takes no room.
          if (type->type_kind == ARRAY && type->type_count < 0)
            set_count(type, 0);
          add_member(s, name, type, -1);
        }
        attributes();
        if (!take(P_COMMA))
          break;
      }
    }
    expect(P_SEMICOLON);
  }
}

// tag_symbol finds what a struct's or enum's tag stands for. A definition, or a
// declaration of nothing but the tag, is for the current scope.
struct symbol *tag_symbol(struct name *name, struct type *fresh)
{
  struct symbol *s = name->tag;
  long own = kind == P_OPEN_BLOCK || kind == P_SEMICOLON;
  if (s && (!own || s->symbol_level == scope->scope_level))
    return s;
  return declare(name, S_TAG, fresh);
}

struct type *struct_specifier(long is_union)
{
  attributes();
  struct type *s = new_type(STRUCT, 0, 1);
  s->type_complete = 0;
  s->type_union = is_union;
  s->type_name = "(without a name)";
  if (kind == T_NAME) {
    struct name *name = tok->token_name;
    s->type_name = name->name_text;
    advance();
    s = tag_symbol(name, s)->symbol_type;
    if (s->type_kind != STRUCT || s->type_union != is_union)
      fail_name("a tag of another kind", name->name_text);
  } else if (kind != P_OPEN_BLOCK) {
    fail_name("a tag or '{' must stand before", spelling());
  }
  if (take(P_OPEN_BLOCK)) {
    if (s->type_complete)
      fail_name("struct defined twice", s->type_name);
    deeper();
    struct_members(s);
    shallower();
    finish_struct(s);
    attributes();
  }
  return s;
}

struct type *enum_specifier(void)
{
  attributes();
  struct symbol *tag = 0;
  struct type *type = type_uint;
  if (kind == T_NAME) {
    struct name *name = tok->token_name;
    advance();
    // Its type is known at its end only, a forward declaration is none.
    if (kind != P_OPEN_BLOCK) {
      if (!name->tag) {
        fail_name("an enum that is not declared", name->name_text);
      }
      if (!is_integer(name->tag->symbol_type))
        fail_name("a tag of another kind", name->name_text);
      return name->tag->symbol_type;
    }
    tag = declare(name, S_TAG, type_uint);
  }
  expect(P_OPEN_BLOCK);
  long value = 0;
  while (kind != P_CLOSE_BLOCK) {
    if (kind != T_NAME)
      fail_name("a constant's name must stand before", spelling());
    struct name *name = tok->token_name;
    advance();
    attributes();
    if (take(P_SET))
      value = constant_expression();
    if (value < 0)
      type = type_int;
    // A constant is an int, or an unsigned int if it does not fit.
    struct type *own = type_int;
    if (!fits32(value))
      own = type_uint;
    if (value < -2147483648 || value > 4294967295 || (own == type_uint && type == type_int))
      fail_name("enum constant too large", name->name_text);
    declare(name, S_CONSTANT, own)->symbol_value = cut(value, own);
    value = value + 1;
    if (!take(P_COMMA))
      break;
  }
  expect(P_CLOSE_BLOCK);
  attributes();
  if (tag)
    tag->symbol_type = type;
  return type;
}

long is_sign(long k)
{
  return k == K_SIGNED || k == K_SIGNED_GNU || k == K_UNSIGNED;
}

// specifiers reads what stands before the declarators, and gives the base type.
struct type *specifiers(void)
{
  struct type *type = 0;
  long longs = 0;
  long is_short = 0;
  long is_signed = 0;
  long no_sign = 0;
  long basic = 0;               // the keyword int, char, float, double
  long own = NO_STORAGE;
  while (1) {
    long any = type != 0 || longs || is_short || is_signed || no_sign || basic;
    if (is_qualifier(kind) || is_inline(kind) || kind == K_REGISTER || kind == K_EXTENSION) {
      advance();
    } else if (kind == K_ATTRIBUTE || kind == K_ATTRIBUTE_GNU) {
      attributes();
    } else if (kind == K_TYPEDEF || kind == K_EXTERN || kind == K_STATIC || kind == K_AUTO) {
      if (own)
        fail("two storage classes");
      if (kind == K_TYPEDEF)
        own = STORAGE_TYPEDEF;
      else if (kind == K_EXTERN)
        own = STORAGE_EXTERN;
      else if (kind == K_STATIC)
        own = STORAGE_STATIC;
      else
        own = STORAGE_AUTO;
      advance();
    } else if (kind == K_STRUCT || kind == K_UNION || kind == K_ENUM || kind == K_VOID) {
      long which = kind;
      if (any)
        fail("two types");
      advance();
      if (which == K_ENUM)
        type = enum_specifier();
      else if (which == K_VOID)
        type = type_void;
      else
        type = struct_specifier(which == K_UNION);
    } else if (kind == K_INT || kind == K_CHAR || kind == K_FLOAT || kind == K_DOUBLE) {
      if (basic || type)
        fail("two types");
      basic = kind;
      advance();
    } else if (kind == K_LONG || kind == K_SHORT || is_sign(kind)) {
      if (type)
        fail("two types");
      if (kind == K_LONG)
        longs = longs + 1;
      else if (kind == K_SHORT)
        is_short = is_short + 1;
      else if (kind == K_UNSIGNED)
        no_sign = no_sign + 1;
      else
        is_signed = is_signed + 1;
      advance();
    } else if (kind == T_NAME && !any && begins_type(tok)) {
      type = tok->token_name->ordinary->symbol_type;
      advance();
    } else {
      if (!any)
        fail_name("a type must stand before", spelling());
      break;
    }
  }
  storage = own;
  if (longs > 2 || is_short > 1 || is_signed + no_sign > 1 || (longs && is_short))
    fail("these words do not make a type");
  if (type) {
    // Each use of an array's typedef may get a size of its own.
    if (type->type_kind == ARRAY && type->type_count < 0)
      return array_of(type->type_base, -1);
    return type;
  }
  long other = is_short || is_signed || no_sign;
  if ((basic == K_CHAR && (longs || is_short)) || (basic == K_FLOAT && (longs || other)))
    fail("these words do not make a type");
  if (basic == K_DOUBLE && (longs > 1 || other))
    fail("these words do not make a type");
  if (basic == K_FLOAT)
    return type_float;
  if (basic == K_DOUBLE && longs)
    return type_long_double;
  if (basic == K_DOUBLE)
    return type_double;
  if (basic == K_CHAR && no_sign)
    return type_uchar;
  if (basic == K_CHAR)
    return type_char;
  if (is_short && no_sign)
    return type_ushort;
  if (is_short)
    return type_short;
  if (longs && no_sign)
    return type_ulong;
  if (longs)
    return type_long;
  if (no_sign)
    return type_uint;
  return type_int;
}

// What a declaration makes of a name

// merge_types brings together two declarations of the same object.
struct type *merge_types(struct name *name, struct type *old, struct type *new)
{
  if (!same_type(old, new))
    fail_name("declared before with another type", name->name_text);
  if (old->type_kind == ARRAY && new->type_count < 0)
    return old;
  if (old->type_kind == FUNCTION && new->type_open)
    return old;
  return new;
}

// object_symbol declares a name that has an object with linkage.
struct symbol *object_symbol(struct name *name, struct type *type, long class)
{
  struct symbol *s = name->ordinary;
  struct symbol *seen = s;
  if (s && s->symbol_level == scope->scope_level) {
    if (s->symbol_kind != S_OBJECT)
      fail_name("declared twice", name->name_text);
    if (class == STORAGE_STATIC && !s->symbol_static)
      fail_name("declared static after it was not", name->name_text);
    type = merge_types(name, s->symbol_type, type);
    s->symbol_type = type;
    s->symbol_object->object_type = type;
    return s;
  }
  s = declare(name, S_OBJECT, type);
  if (seen && seen->symbol_kind == S_OBJECT && seen->symbol_level == 0) {
    // A declaration within a function, of what the unit declares
    s->symbol_type = merge_types(name, seen->symbol_type, type);
    s->symbol_object = seen->symbol_object;
    s->symbol_static = seen->symbol_static;
  } else if (class == STORAGE_STATIC) {
    s->symbol_object = new_object(name->name_text, type);
    s->symbol_static = 1;
  } else {
    s->symbol_object = external_object(name, type);
    // What calls main may give it more than it takes.
    if (!same_shape(s->symbol_object->object_type, type) && !same_text(name->name_text, "main"))
      fail_name("declared before with another type", name->name_text);
    if (!s->symbol_object->object_type->type_complete)
      s->symbol_object->object_type = type;
  }
  return s;
}

void define_object(struct object *o, long section, long at)
{
  if (o->object_section != NOWHERE)
    fail_name("defined twice", o->object_name);
  o->object_section = section;
  o->object_offset = at;
}

// data_object gives an object its initial value.
void data_object(struct symbol *s, struct object *o)
{
  struct item *list = initialiser(s->symbol_type);
  if (!s->symbol_type->type_complete)
    fail("a variable without a size");
  o->object_type = s->symbol_type;
  define_object(o, IN_DATA, new_data(s->symbol_type->type_size, s->symbol_type->type_align));
  data_items(list, o->object_offset);
}

// unit_variable declares a variable or function outside of functions.
void unit_variable(struct name *name, struct type *type, long class)
{
  struct symbol *s = object_symbol(name, type, class);
  if (type->type_kind == FUNCTION)
    return;
  if (type->type_kind == VOID)
    fail_name("a variable of type void", name->name_text);
  if (take(P_SET)) {
    data_object(s, s->symbol_object);
  } else if (class != STORAGE_EXTERN) {
    s->symbol_object->object_tentative = 1;
  }
}

void local_variable(struct name *name, struct type *type, long class)
{
  if (class == STORAGE_EXTERN || type->type_kind == FUNCTION) {
    object_symbol(name, type, STORAGE_EXTERN);
    return;
  }
  if (class == STORAGE_STATIC) {
    struct symbol *s = declare(name, S_OBJECT, type);
    s->symbol_object = new_object(name->name_text, type);
    s->symbol_static = 1;
    if (take(P_SET)) {
      data_object(s, s->symbol_object);
    } else {
      if (!type->type_complete)
        fail_name("a variable without a size", name->name_text);
      s->symbol_object->object_tentative = 1;
    }
    return;
  }
  struct symbol *local = declare(name, S_LOCAL, type);
  long unknown = type->type_kind == ARRAY && type->type_count < 0;
  if (!type->type_complete && !unknown)
    fail_name("a variable without a size", name->name_text);
  if (!unknown)
    local->symbol_value = new_local(type->type_size, align_up(type->type_align, 8));
  if (take(P_SET)) {
    struct item *list = initialiser(type);
    if (unknown)
      local->symbol_value = new_local(type->type_size, 8);
    fill_local(list, local->symbol_value, type);
  } else if (unknown) {
    fail_name("an array without a size", name->name_text);
  }
}

// declaration reads a whole declaration, or a function's definition.
void declaration(void)
{
  if (take(P_SEMICOLON))
    return;
  struct type *base = specifiers();
  long class = storage;
  if (take(P_SEMICOLON))
    return;
  while (1) {
    struct type *type = declarator(base);
    struct name *name = declared_name;
    attributes();
    if (!name)
      fail_name("a name must stand before", spelling());
    if (class == STORAGE_TYPEDEF) {
      // The same once more changes nothing.
      struct symbol *old = name->ordinary;
      long again = old && old->symbol_level == scope->scope_level && old->symbol_kind == S_TYPE;
      if (!again || !same_type(old->symbol_type, type))
        declare(name, S_TYPE, type);
    } else if (scope->scope_level > 0) {
      local_variable(name, type, class);
    } else {
      if (type->type_kind == FUNCTION && kind == P_OPEN_BLOCK) {
        struct symbol *s = object_symbol(name, type, class);
        s->symbol_type = type;
        function_body(s);
        return;
      }
      unit_variable(name, type, class);
    }
    if (!take(P_COMMA))
      break;
  }
  expect(P_SEMICOLON);
}
