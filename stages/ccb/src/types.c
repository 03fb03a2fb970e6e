// Types. Arithmetic types come in pairs, the second of a pair without a sign.
// char and signed char are one type here, so are long and long long. An enum is an
// int, or an unsigned int if no constant of it is negative.

enum {
  VOID, CHAR, UCHAR, SHORT, USHORT, INT, UINT, LONG, ULONG, FLOAT, DOUBLE, LDOUBLE,
  POINTER, ARRAY, FUNCTION, STRUCT
};

struct member;
struct parameter;

struct type {
  long type_kind;
  long type_size;               // in bytes
  long type_align;
  long type_complete;           // its size is known
  struct type *type_base;       // pointed to, element, result
  struct type *type_pointer;    // the pointer to this type, once there is one
  long type_count;              // of an array's elements, -1: not known yet
  struct parameter *type_parameters;
  long type_variadic;
  long type_open;               // a function without a prototype
  struct member *type_members;
  struct member *type_last;     // the last member
  long type_union;
  long type_bits;               // of a struct that is being laid out: bits so far
  char *type_name;              // of a struct, for messages
};

struct member {
  struct member *member_next;
  struct name *member_name;     // 0: anonymous
  struct type *member_type;
  long member_offset;
  long member_bit;              // of a bit-field: its lowest bit in the unit
  long member_width;            // and its bits; 0: no bit-field
};

struct parameter {
  struct parameter *parameter_next;
  struct name *parameter_name;
  struct type *parameter_type;
};

struct type *type_void;
struct type *type_char;
struct type *type_uchar;
struct type *type_short;
struct type *type_ushort;
struct type *type_int;
struct type *type_uint;
struct type *type_long;
struct type *type_ulong;
struct type *type_float;
struct type *type_double;
struct type *type_long_double;

struct type *new_type(long type, long size, long align)
{
  struct type *t = (struct type *)allocate((long)sizeof(struct type));
  t->type_kind = type;
  t->type_size = size;
  t->type_align = align;
  t->type_complete = 1;
  return t;
}

struct type *pointer_to(struct type *base)
{
  if (!base->type_pointer) {
    base->type_pointer = new_type(POINTER, 8, 8);
    base->type_pointer->type_base = base;
  }
  return base->type_pointer;
}

enum { SIZE_LIMIT = 1073741824 };

// set_count gives an array its number of elements.
void set_count(struct type *t, long count)
{
  t->type_count = count;
  if (count < 0) {
    t->type_complete = 0;
    t->type_size = 0;
    return;
  }
  if (count > SIZE_LIMIT || count * t->type_base->type_size > SIZE_LIMIT)
    fail("array too large");
  t->type_size = count * t->type_base->type_size;
  t->type_complete = 1;
}

struct type *array_of(struct type *base, long count)
{
  if (base->type_kind == VOID || base->type_kind == FUNCTION || !base->type_complete)
    fail("array of elements without a size");
  struct type *t = new_type(ARRAY, 0, base->type_align);
  t->type_base = base;
  set_count(t, count);
  return t;
}

struct type *function_giving(struct type *result)
{
  if (result->type_kind == ARRAY || result->type_kind == FUNCTION)
    fail("a function can not give an array or a function");
  struct type *t = new_type(FUNCTION, 1, 1);
  t->type_base = result;
  return t;
}

void types_start(void)
{
  type_void = new_type(VOID, 1, 1);
  type_void->type_complete = 0;
  type_char = new_type(CHAR, 1, 1);
  type_uchar = new_type(UCHAR, 1, 1);
  type_short = new_type(SHORT, 2, 2);
  type_ushort = new_type(USHORT, 2, 2);
  type_int = new_type(INT, 4, 4);
  type_uint = new_type(UINT, 4, 4);
  type_long = new_type(LONG, 8, 8);
  type_ulong = new_type(ULONG, 8, 8);
  type_float = new_type(FLOAT, 4, 4);
  type_double = new_type(DOUBLE, 8, 8);
  type_long_double = new_type(LDOUBLE, 16, 16);
}

long is_integer(struct type *t)
{
  return t->type_kind >= CHAR && t->type_kind <= ULONG;
}

long is_floating(struct type *t)
{
  return t->type_kind >= FLOAT && t->type_kind <= LDOUBLE;
}

long is_arithmetic(struct type *t)
{
  return t->type_kind >= CHAR && t->type_kind <= LDOUBLE;
}

long is_scalar(struct type *t)
{
  return t->type_kind >= CHAR && t->type_kind <= POINTER;
}

long is_unsigned(struct type *t)
{
  long k = t->type_kind;
  return k == UCHAR || k == USHORT || k == UINT || k == ULONG || k == POINTER;
}

long is_pointer(struct type *t)
{
  return t->type_kind == POINTER;
}

// by_address: the value of a struct or a long double is the address where it lies.
long by_address(struct type *t)
{
  return t->type_kind == STRUCT || t->type_kind == LDOUBLE;
}

// same_type tells whether two types are compatible.
long same_type(struct type *a, struct type *b)
{
  if (a == b)
    return 1;
  if (a->type_kind != b->type_kind)
    return 0;
  if (a->type_kind == POINTER)
    return same_type(a->type_base, b->type_base);
  if (a->type_kind == ARRAY) {
    if (a->type_count >= 0 && b->type_count >= 0 && a->type_count != b->type_count)
      return 0;
    return same_type(a->type_base, b->type_base);
  }
  if (a->type_kind == STRUCT)
    return 0;
  if (a->type_kind != FUNCTION)
    return 1;
  if (!same_type(a->type_base, b->type_base))
    return 0;
  if (a->type_open || b->type_open)
    return 1;
  struct parameter *p = a->type_parameters;
  struct parameter *q = b->type_parameters;
  while (p && q) {
    if (!same_type(p->parameter_type, q->parameter_type))
      return 0;
    p = p->parameter_next;
    q = q->parameter_next;
  }
  return p == q && a->type_variadic == b->type_variadic;
}

// same_shape is what can be told of types from different units, in which a struct
// is never the same: whether code for the one is code for the other.
long same_shape(struct type *a, struct type *b)
{
  if (is_integer(a) && is_integer(b))
    return a->type_size == b->type_size;
  if (a->type_kind != b->type_kind)
    return 0;
  if (a->type_kind == FUNCTION) {
    if (!same_shape(a->type_base, b->type_base))
      return 0;
    if (a->type_open || b->type_open)
      return 1;
    struct parameter *p = a->type_parameters;
    struct parameter *q = b->type_parameters;
    while (p && q && same_shape(p->parameter_type, q->parameter_type)) {
      p = p->parameter_next;
      q = q->parameter_next;
    }
    return p == 0 && q == 0 && a->type_variadic == b->type_variadic;
  }
  if (a->type_kind == ARRAY && !same_shape(a->type_base, b->type_base))
    return 0;
  return !a->type_complete || !b->type_complete || a->type_size == b->type_size;
}

// Structs and unions, laid out as the System V ABI says

// find_member looks a member up, also within anonymous ones; found_offset is
// then its offset in the whole.
long found_offset;

struct member *find_member(struct type *t, struct name *name)
{
  struct member *m = t->type_members;
  while (m) {
    if (m->member_name == name) {
      found_offset = m->member_offset;
      return m;
    }
    if (!m->member_name && m->member_type->type_kind == STRUCT) {
      struct member *inner = find_member(m->member_type, name);
      if (inner) {
        found_offset = found_offset + m->member_offset;
        return inner;
      }
    }
    m = m->member_next;
  }
  return 0;
}

// claim_bits gives a member of a struct or union its place: size bits, not before
// a multiple of align bits. A bit-field has a unit, which it must not straddle.
long claim_bits(struct type *s, long size, long align, long unit)
{
  long at = s->type_bits;
  if (s->type_union)
    at = 0;
  at = align_up(at, align);
  if (unit && at / unit != (at + size - 1) / unit)
    at = align_up(at, unit);
  if (at + size > s->type_bits)
    s->type_bits = at + size;
  if (s->type_bits / 8 > SIZE_LIMIT)
    fail("struct too large");
  return at;
}

void add_member(struct type *s, struct name *name, struct type *type, long width)
{
  struct member *m = (struct member *)allocate((long)sizeof(struct member));
  long unit = type->type_size * 8;
  if (!type->type_complete)
    fail("member without a size");
  if (name && find_member(s, name))
    fail_name("member given twice", name->name_text);
  m->member_name = name;
  m->member_type = type;
  if (width < 0) {
    m->member_offset = claim_bits(s, unit, type->type_align * 8, 0) / 8;
  } else {
    long at = claim_bits(s, width, 1, unit);
    m->member_offset = at / unit * type->type_size;
    m->member_bit = at % unit;
    m->member_width = width;
    if (!name)
      return;
  }
  if (type->type_align > s->type_align)
    s->type_align = type->type_align;
  if (s->type_last)
    s->type_last->member_next = m;
  else
    s->type_members = m;
  s->type_last = m;
}

void finish_struct(struct type *s)
{
  s->type_size = align_up((s->type_bits + 7) / 8, s->type_align);
  s->type_complete = 1;
}
