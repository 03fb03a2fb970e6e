// Trees: expressions with their types. Building a tree converts operands as C
// says and folds integer constants, so that what needs a constant just looks
// whether it got a number.
//
// A value of an integer type is always kept extended to 64 bits by its type.

enum {
  N_NUMBER,                     // node_value; of an integer or pointer type
  N_FLOAT,                      // node_value: the bits; node_bit: a long double's others
  // Places in memory
  N_LOCAL,                      // node_value: offset from rbp
  N_GLOBAL,                     // node_object, node_value: offset in it
  N_DEREF,                      // left: a pointer, node_value: offset from it
  // Values
  N_ADDRESS,                    // left: N_LOCAL, N_GLOBAL, or a struct's value
  N_CONVERT,                    // left
  N_BINARY,                     // left, node_operator, right: of the same type
  N_NEGATE, N_COMPLEMENT, N_NOT,
  N_AND_AND, N_OR_OR,           // left, right
  N_CONDITION,                  // left ? right : third
  N_COMMA,                      // left, right
  N_ASSIGN,                     // left, right
  N_POSTFIX,                    // left: with the old value, right: if not used
  N_CALL                        // left, right: arguments; node_value: room for a struct
};

struct node {
  long node_op;
  struct type *node_type;
  struct node *node_left;
  struct node *node_right;
  struct node *node_third;
  struct node *node_next;       // the next argument
  long node_operator;
  long node_value;
  struct object *node_object;
  long node_bit;                // of a place that is a bit-field
  long node_width;
};

struct node *new_node(long op, struct type *type, struct node *left, struct node *right)
{
  struct node *n = (struct node *)allocate((long)sizeof(struct node));
  n->node_op = op;
  n->node_type = type;
  n->node_left = left;
  n->node_right = right;
  return n;
}

// cut gives a value as a type has it: its low bits, extended.
long cut(long value, struct type *type)
{
  long k = type->type_kind;
  if (k == CHAR)
    return ((value & 255) ^ 128) - 128;
  if (k == UCHAR)
    return value & 255;
  if (k == SHORT)
    return ((value & 65535) ^ 32768) - 32768;
  if (k == USHORT)
    return value & 65535;
  if (k == INT)
    return ((value & 4294967295) ^ 2147483648) - 2147483648;
  if (k == UINT)
    return value & 4294967295;
  return value;
}

struct node *number(long value, struct type *type)
{
  struct node *n = new_node(N_NUMBER, type, 0, 0);
  n->node_value = cut(value, type);
  return n;
}

// retyped gives the same tree with another type.
struct node *retyped(struct node *n, struct type *type)
{
  struct node *c = new_node(n->node_op, type, n->node_left, n->node_right);
  c->node_third = n->node_third;
  c->node_operator = n->node_operator;
  c->node_value = n->node_value;
  c->node_object = n->node_object;
  c->node_bit = n->node_bit;
  c->node_width = n->node_width;
  return c;
}

long is_number(struct node *n)
{
  return n->node_op == N_NUMBER;
}

long is_place(struct node *n)
{
  return n->node_op == N_LOCAL || n->node_op == N_GLOBAL || n->node_op == N_DEREF;
}

struct node *convert(struct node *n, struct type *type);

// address_of gives a pointer to a place, or to where a struct's value lies.
struct node *address_of(struct node *n)
{
  struct type *pointer = pointer_to(n->node_type);
  if (n->node_width)
    fail("a bit-field has no address");
  if (n->node_op == N_DEREF) {
    if (is_number(n->node_left))
      return number(wrap_add(n->node_left->node_value, n->node_value), pointer);
    if (n->node_value == 0)
      return convert(n->node_left, pointer);
    struct node *sum = new_node(N_BINARY, pointer, n->node_left, number(n->node_value, type_long));
    sum->node_operator = P_PLUS;
    return sum;
  }
  return new_node(N_ADDRESS, pointer, n, 0);
}

// place_at gives the place of a type at an offset from a pointer.
struct node *place_at(struct node *pointer, long offset, struct type *type)
{
  struct node *n = 0;
  if (pointer->node_op == N_ADDRESS && is_place(pointer->node_left)) {
    n = retyped(pointer->node_left, type);
    n->node_value = wrap_add(n->node_value, offset);
    return n;
  }
  if (pointer->node_op == N_BINARY && pointer->node_operator == P_PLUS && is_number(pointer->node_right)) {
    long sum = wrap_add(offset, pointer->node_right->node_value);
    if (fits32(sum)) {
      offset = sum;
      pointer = pointer->node_left;
    }
  }
  n = new_node(N_DEREF, type, pointer, 0);
  n->node_value = offset;
  return n;
}

// value_of makes a value of a tree: arrays and functions become pointers.
struct node *value_of(struct node *n)
{
  if (n->node_type->type_kind == ARRAY)
    return convert(address_of(n), pointer_to(n->node_type->type_base));
  if (n->node_type->type_kind == FUNCTION)
    return address_of(n);
  return n;
}

struct node *scalar_of(struct node *n)
{
  n = value_of(n);
  if (!is_scalar(n->node_type))
    fail("a number or pointer must stand here");
  return n;
}

// Conversions

struct node *floating(long bits, struct type *type)
{
  struct node *n = new_node(N_FLOAT, type, 0, 0);
  n->node_value = bits;
  return n;
}

struct node *long_floating(long significand)
{
  struct node *n = floating(significand, type_long_double);
  n->node_bit = long_exponent;
  return n;
}

// convert_constant folds the conversion of an N_NUMBER or N_FLOAT.
struct node *convert_constant(struct node *n, struct type *type)
{
  long bits = n->node_value;
  if (is_number(n)) {
    if (type->type_kind == FLOAT)
      return floating(integer_bits(bits, is_unsigned(n->node_type), FLOAT_BITS, FLOAT_LEAST), type);
    if (type->type_kind == DOUBLE)
      return floating(integer_bits(bits, is_unsigned(n->node_type), DOUBLE_BITS, DOUBLE_LEAST), type);
    if (type->type_kind == LDOUBLE)
      return long_floating(integer_bits(bits, is_unsigned(n->node_type), LONG_BITS, LONG_LEAST));
    return number(bits, type);
  }
  if (n->node_type->type_kind == type->type_kind)
    return n;
  // All others go by way of a double, except long double to an integer: that
  // is not folded, since a double could not hold it.
  long_exponent = n->node_bit;
  if (n->node_type->type_kind == FLOAT)
    bits = float_to_double(bits);
  else if (n->node_type->type_kind == LDOUBLE && !is_floating(type))
    return new_node(N_CONVERT, type, n, 0);
  else if (n->node_type->type_kind == LDOUBLE && type->type_kind == FLOAT)
    return new_node(N_CONVERT, type, n, 0);
  else if (n->node_type->type_kind == LDOUBLE)
    bits = long_to_double(bits);
  if (type->type_kind == FLOAT)
    return floating(double_to_float(bits), type);
  if (type->type_kind == LDOUBLE)
    return long_floating(double_to_long(bits));
  if (type->type_kind == DOUBLE)
    return floating(bits, type);
  return number(double_to_integer(bits), type);
}

// convert changes a value to a type, as a cast does.
struct node *convert(struct node *n, struct type *type)
{
  if (type->type_kind == VOID)
    return new_node(N_CONVERT, type, n, 0);
  if (!is_scalar(n->node_type) || !is_scalar(type))
    fail("this can not be converted");
  struct type *from = n->node_type;
  if ((is_floating(type) && is_pointer(from)) || (is_floating(from) && is_pointer(type)))
    fail("a pointer and a floating number do not convert");
  if (from == type && !n->node_width)
    return n;
  if (is_number(n) || n->node_op == N_FLOAT)
    return convert_constant(n, type);
  // A pointer that was calculated keeps its form, so that places still see it.
  if (is_pointer(type) && is_pointer(from) && (n->node_op == N_ADDRESS || n->node_op == N_BINARY))
    return retyped(n, type);
  return new_node(N_CONVERT, type, n, 0);
}

// field_width gives the width of the bit-field that a value comes from, or 0.
// What is assigned to a bit-field counts as one too.
long field_width(struct node *n)
{
  if (n->node_op == N_ASSIGN)
    return field_width(n->node_left);
  if (n->node_op == N_COMMA || n->node_op == N_POSTFIX)
    return field_width(n->node_right);
  return n->node_width;
}

// promote: types smaller than int become int; so do bit-fields that fit.
struct node *promote(struct node *n)
{
  n = value_of(n);
  if (n->node_type->type_kind < INT && is_integer(n->node_type))
    return convert(n, type_int);
  if (is_integer(n->node_type) && field_width(n) && field_width(n) < 32)
    return convert(n, type_int);
  if (n->node_width)
    return convert(n, n->node_type);
  return n;
}

// common_type is the type in which two promoted arithmetic operands meet.
struct type *common_type(struct type *a, struct type *b)
{
  if (a->type_kind > b->type_kind)
    return a;
  return b;
}

long is_null(struct node *n)
{
  return is_number(n) && n->node_value == 0;
}

// assignable converts a value to the type of what it is assigned to.
struct node *assignable(struct node *n, struct type *type)
{
  n = value_of(n);
  if (type->type_kind == STRUCT || n->node_type->type_kind == STRUCT) {
    if (n->node_type != type)
      fail("different types in an assignment, argument or result");
    return n;
  }
  if (!is_scalar(type))
    fail("nothing can be assigned to this type");
  if (n->node_type->type_kind == VOID)
    fail("a value must stand here");
  if (is_pointer(type) && is_integer(n->node_type) && !is_null(n))
    fail("a number is no pointer");
  if (!is_pointer(type) && is_pointer(n->node_type))
    fail("a pointer is no number");
  return convert(n, type);
}

// Operators

struct node *binary_node(long operator, struct type *type, struct node *left, struct node *right)
{
  struct node *n = new_node(N_BINARY, type, left, right);
  n->node_operator = operator;
  return n;
}

// arithmetic applies an operator to two operands that have the same type.
struct node *arithmetic(long operator, struct node *left, struct node *right, struct type *result)
{
  if (is_number(left) && is_number(right)) {
    long zero = right->node_value == 0 && (operator == P_SLASH || operator == P_PERCENT);
    long shift = operator == P_SHIFT_LEFT || operator == P_SHIFT_RIGHT;
    long count = right->node_value;
    if (shift && (count < 0 || count >= left->node_type->type_size * 8))
      zero = 1;
    // What has no value is left for the time when it is carried out.
    if (!zero)
      return number(integer_operation(operator, left->node_value, count, is_unsigned(left->node_type)), result);
  }
  return binary_node(operator, result, left, right);
}

long element_size(struct type *pointer)
{
  struct type *base = pointer->type_base;
  if (base->type_kind == VOID || base->type_kind == FUNCTION)
    return 1;
  if (!base->type_complete)
    fail("arithmetic on a pointer to something without a size");
  return base->type_size;
}

// add_index gives pointer + index, or - index.
struct node *add_index(struct node *pointer, struct node *index, long operator)
{
  long size = element_size(pointer->node_type);
  if (!is_integer(index->node_type))
    fail("an index must be an integer");
  index = convert(promote(index), type_long);
  index = arithmetic(P_STAR, index, number(size, type_long), type_long);
  if (operator == P_MINUS && is_number(index)) {
    index = number(wrap_negate(index->node_value), type_long);
    operator = P_PLUS;
  }
  if (is_number(index)) {
    if (index->node_value == 0)
      return pointer;
    if (is_number(pointer))
      return number(wrap_add(pointer->node_value, index->node_value), pointer->node_type);
    if (pointer->node_op == N_ADDRESS && is_place(pointer->node_left)) {
      struct node *place = retyped(pointer->node_left, pointer->node_left->node_type);
      place->node_value = wrap_add(place->node_value, index->node_value);
      return new_node(N_ADDRESS, pointer->node_type, place, 0);
    }
    if (pointer->node_op == N_BINARY && pointer->node_operator == P_PLUS && is_number(pointer->node_right)) {
      index = number(wrap_add(index->node_value, pointer->node_right->node_value), type_long);
      pointer = retyped(pointer->node_left, pointer->node_type);
    }
  }
  return binary_node(operator, pointer->node_type, pointer, index);
}

long is_comparison(long operator)
{
  long level = binary_level(operator);
  return level == 6 || level == 7;
}

// binary applies any binary operator but && and || as C says.
struct node *binary(long operator, struct node *left, struct node *right)
{
  left = scalar_of(left);
  right = scalar_of(right);
  struct type *a = left->node_type;
  struct type *b = right->node_type;
  if (is_pointer(a) || is_pointer(b)) {
    if (is_comparison(operator)) {
      if (is_floating(a) || is_floating(b))
        fail("a pointer is compared with a floating number");
      if ((!is_pointer(a) && !is_null(left)) || (!is_pointer(b) && !is_null(right)))
        fail("a pointer is compared with a number");
      return arithmetic(operator, convert(left, type_ulong), convert(right, type_ulong), type_int);
    }
    if (operator == P_PLUS && !is_pointer(b))
      return add_index(left, right, P_PLUS);
    if (operator == P_PLUS && !is_pointer(a))
      return add_index(right, left, P_PLUS);
    if (operator == P_MINUS && !is_pointer(b))
      return add_index(left, right, P_MINUS);
    if (operator != P_MINUS || !is_pointer(a))
      fail_name("wrong operands", punctuators[operator - P_DOTS]);
    struct node *bytes = arithmetic(P_MINUS, convert(left, type_long), convert(right, type_long), type_long);
    if (element_size(a) != element_size(b))
      fail("difference of pointers to different types");
    return arithmetic(P_SLASH, bytes, number(element_size(a), type_long), type_long);
  }
  left = promote(left);
  right = promote(right);
  if (operator == P_SHIFT_LEFT || operator == P_SHIFT_RIGHT) {
    if (is_floating(a) || is_floating(b))
      fail("a floating number can not be shifted");
    return arithmetic(operator, left, convert(right, type_int), left->node_type);
  }
  struct type *type = common_type(left->node_type, right->node_type);
  long level = binary_level(operator);
  if (is_floating(type) && (operator == P_PERCENT || level == 3 || level == 4 || level == 5))
    fail_name("floating operands", punctuators[operator - P_DOTS]);
  left = convert(left, type);
  right = convert(right, type);
  if (is_comparison(operator))
    return arithmetic(operator, left, right, type_int);
  return arithmetic(operator, left, right, type);
}

struct node *unary(long op, struct node *n)
{
  n = scalar_of(n);
  if (op == N_NOT) {
    if (is_number(n))
      return number(n->node_value == 0, type_int);
    return new_node(N_NOT, type_int, n, 0);
  }
  if (!is_arithmetic(n->node_type) || (op == N_COMPLEMENT && is_floating(n->node_type)))
    fail("wrong operand of an operator");
  n = promote(n);
  if (is_number(n) && op == N_NEGATE)
    return number(wrap_negate(n->node_value), n->node_type);
  if (is_number(n))
    return number(~n->node_value, n->node_type);
  if (n->node_op == N_FLOAT && n->node_type->type_kind == FLOAT)
    return floating(n->node_value ^ 2147483648, n->node_type);
  if (n->node_op == N_FLOAT && n->node_type->type_kind == LDOUBLE) {
    long_exponent = n->node_bit ^ 0x8000;
    return long_floating(n->node_value);
  }
  if (n->node_op == N_FLOAT)
    return floating(wrap_add(n->node_value, shift_left(1, 63)), n->node_type);
  return new_node(op, n->node_type, n, 0);
}

// is_true tells of a constant whether it counts as true.
long is_true(struct node *n)
{
  return n->node_value != 0;
}

struct node *logical(long op, struct node *left, struct node *right)
{
  left = scalar_of(left);
  right = scalar_of(right);
  if (is_number(left)) {
    if (is_true(left) != (op == N_AND_AND))
      return number(op == N_OR_OR, type_int);
    if (is_number(right))
      return number(is_true(right), type_int);
  }
  return new_node(op, type_int, left, right);
}

struct node *condition(struct node *test, struct node *yes, struct node *no)
{
  struct type *type = 0;
  test = scalar_of(test);
  yes = value_of(yes);
  no = value_of(no);
  struct type *a = yes->node_type;
  struct type *b = no->node_type;
  if (is_arithmetic(a) && is_arithmetic(b)) {
    yes = promote(yes);
    no = promote(no);
    type = common_type(yes->node_type, no->node_type);
  } else if (is_pointer(a) && (is_null(no) || is_pointer(b))) {
    type = a;
    if (is_pointer(b) && !is_null(no) && (is_null(yes) || b->type_base->type_kind == VOID))
      type = b;
  } else if (is_pointer(b) && is_null(yes)) {
    type = b;
  } else if (a->type_kind == VOID || b->type_kind == VOID) {
    type = type_void;
  } else if (a == b) {
    type = a;
  } else {
    fail("the two sides of ':' do not go together");
  }
  if (type->type_kind != STRUCT) {
    yes = convert(yes, type);
    no = convert(no, type);
  }
  if (is_number(test) && is_true(test) && type->type_kind != STRUCT)
    return yes;
  if (is_number(test) && type->type_kind != STRUCT)
    return no;
  struct node *n = new_node(N_CONDITION, type, test, yes);
  n->node_third = no;
  return n;
}

struct node *comma(struct node *left, struct node *right)
{
  right = value_of(right);
  return new_node(N_COMMA, right->node_type, left, right);
}

struct node *assign(struct node *left, struct node *right)
{
  if (!is_place(left) || left->node_type->type_kind == ARRAY || left->node_type->type_kind == FUNCTION)
    fail("nothing can be assigned to this");
  return new_node(N_ASSIGN, left->node_type, left, assignable(right, left->node_type));
}

struct node *temporary(struct type *type)
{
  struct node *n = new_node(N_LOCAL, type, 0, 0);
  n->node_value = new_local(type->type_size, 8);
  return n;
}

// steady gives a place that can be used twice although its pointer is calculated
// once: steady_first is to be carried out before, or is 0.
struct node *steady_first;

struct node *steady(struct node *place)
{
  steady_first = 0;
  if (place->node_op != N_DEREF || place->node_left->node_op == N_LOCAL)
    return place;
  struct node *pointer = temporary(place->node_left->node_type);
  steady_first = assign(pointer, place->node_left);
  struct node *n = retyped(place, place->node_type);
  n->node_left = pointer;
  return n;
}

// modify is `place op= value`, and ++ and --; post tells that the old value counts.
struct node *modify(struct node *place, long operator, struct node *value, long post)
{
  if (!is_place(place) || !is_scalar(place->node_type))
    fail("this can not be changed");
  place = steady(place);
  struct node *first = steady_first;
  struct node *change = assign(place, convert(binary(operator, place, value), place->node_type));
  struct node *all = change;
  if (first)
    all = comma(first, change);
  if (!post)
    return all;
  struct node *old = temporary(place->node_type);
  struct node *keep = assign(old, place);
  struct node *with = comma(keep, comma(assign(place, convert(binary(operator, old, value), place->node_type)), old));
  if (first)
    with = comma(first, with);
  return new_node(N_POSTFIX, place->node_type, with, all);
}
