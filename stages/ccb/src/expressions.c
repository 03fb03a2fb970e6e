// Expressions: the grammar, from primary expressions up to the comma.

struct node *expression(void);
struct node *assignment(void);
struct node *cast(void);
long begins_type(struct token *t);      // a type's name starts with it
struct type *type_name(void);

char *function_name;            // of the function that is being compiled, or 0

// Literals

struct node *number_literal(void)
{
  char *text = text_of(tok->token_text, tok->token_length);
  long hex = text[0] == '0' && (text[1] == 'x' || text[1] == 'X');
  long is_float = 0;
  long i = 0;
  for (i = 0; text[i]; i = i + 1) {
    char c = text[i];
    if (c == '.' || c == 'p' || c == 'P' || (!hex && (c == 'e' || c == 'E')))
      is_float = 1;
  }
  advance();
  if (is_float) {
    long bits = floating_constant(text, DOUBLE_BITS, DOUBLE_LEAST);
    char *end = number_end;
    if ((end[0] == 'f' || end[0] == 'F') && end[1] == 0)
      return floating(floating_constant(text, FLOAT_BITS, FLOAT_LEAST), type_float);
    if ((end[0] == 'l' || end[0] == 'L') && end[1] == 0)
      return long_floating(floating_constant(text, LONG_BITS, LONG_LEAST));
    if (end[0])
      fail_name("wrong number", text);
    return floating(bits, type_double);
  }
  long value = integer_text(text);
  long decimal = text[0] != '0';
  integer_suffix(number_end);
  // The first type of C's list that can hold the value
  if (!suffix_long && !suffix_unsigned && value >= 0 && value <= 2147483647)
    return number(value, type_int);
  if (!suffix_long && (suffix_unsigned || !decimal) && value >= 0 && value <= 4294967295)
    return number(value, type_uint);
  if (!suffix_unsigned && value >= 0)
    return number(value, type_long);
  return number(value, type_ulong);
}

// String tokens that stand together are one string. string_bytes has its bytes
// and a NUL; string_length does not count that.
char *string_bytes;
long string_length;

void string_literal(void)
{
  long room = 0;
  string_length = 0;
  struct list *parts = new_list();
  while (kind == T_STRING) {
    append(parts, copy_token(tok));
    room = room + tok->token_length;
    advance();
  }
  string_bytes = allocate(room + 1);
  struct token *t = parts->list_first;
  while (t) {
    char *p = t->token_text + 1;
    char *end = t->token_text + t->token_length - 1;
    while (p < end) {
      string_bytes[string_length] = (char)character_value(p);
      string_length = string_length + 1;
      p = escape_end;
    }
    t = t->token_next;
  }
}

struct node *object_place(struct object *object, struct type *type)
{
  struct node *n = new_node(N_GLOBAL, type, 0, 0);
  n->node_object = object;
  return n;
}

struct node *string_node(void)
{
  struct object *o = string_object(string_bytes, string_length + 1);
  return object_place(o, o->object_type);
}

// Names

struct node *name_expression(void)
{
  struct name *name = tok->token_name;
  struct symbol *s = name->ordinary;
  advance();
  if (!s && function_name && (same_text(name->name_text, "__func__") || same_text(name->name_text, "__FUNCTION__"))) {
    string_bytes = function_name;
    string_length = length_of(function_name);
    return string_node();
  }
  if (!s)
    fail_name("not declared", name->name_text);
  if (s->symbol_kind == S_TYPE)
    fail_name("a type where a value must stand", name->name_text);
  if (s->symbol_kind == S_CONSTANT)
    return number(s->symbol_value, s->symbol_type);
  if (s->symbol_kind == S_OBJECT)
    return object_place(s->symbol_object, s->symbol_type);
  struct node *n = new_node(N_LOCAL, s->symbol_type, 0, 0);
  n->node_value = s->symbol_value;
  return n;
}

struct node *primary(void)
{
  struct node *n = 0;
  if (kind == T_NAME)
    return name_expression();
  if (kind == T_NUMBER)
    return number_literal();
  if (kind == T_CHARACTER) {
    n = number(character_constant(tok), type_int);
    advance();
    return n;
  }
  if (kind == T_STRING) {
    string_literal();
    return string_node();
  }
  if (take(P_OPEN)) {
    n = expression();
    expect(P_CLOSE);
    return n;
  }
  fail_name("an expression must stand before", spelling());
  return 0;
}

// Calls

// argument converts an argument to its parameter's type, or as C does without a
// prototype.
struct node *argument(struct node *n, struct parameter *p)
{
  if (p)
    return assignable(n, p->parameter_type);
  n = promote(n);
  if (n->node_type->type_kind == FLOAT)
    return convert(n, type_double);
  if (n->node_type->type_kind == VOID)
    fail("an argument without a value");
  return n;
}

struct node *call(struct node *function)
{
  function = value_of(function);
  if (function->node_type->type_kind != POINTER || function->node_type->type_base->type_kind != FUNCTION)
    fail("this is no function");
  struct type *type = function->node_type->type_base;
  struct parameter *p = type->type_parameters;
  struct node *n = new_node(N_CALL, type->type_base, function, 0);
  struct node *last = 0;
  if (kind != P_CLOSE) {
    while (1) {
      if (!p && !type->type_variadic && !type->type_open)
        fail("too many arguments");
      struct node *a = argument(assignment(), p);
      // An argument is in one list only, so it may need a node of its own.
      a = retyped(a, a->node_type);
      if (p)
        p = p->parameter_next;
      if (last)
        last->node_next = a;
      else
        n->node_right = a;
      last = a;
      if (!take(P_COMMA))
        break;
    }
  }
  if (p)
    fail("too few arguments");
  expect(P_CLOSE);
  if (by_address(n->node_type)) {
    if (!n->node_type->type_complete)
      fail("call of a function that gives a struct without a size");
    n->node_value = new_local(n->node_type->type_size, 8);
  } else if (n->node_type->type_kind != VOID && !is_scalar(n->node_type)) {
    fail("a function can not give this type");
  }
  return n;
}

// Postfix operators

struct node *deref(struct node *pointer)
{
  pointer = value_of(pointer);
  if (pointer->node_type->type_kind != POINTER)
    fail("this is no pointer");
  struct type *type = pointer->node_type->type_base;
  if (type->type_kind == VOID)
    fail("what a pointer to void points to has no value");
  return place_at(pointer, 0, type);
}

struct node *member_of(struct node *whole)
{
  if (whole->node_type->type_kind != STRUCT)
    fail("this is no struct or union");
  if (kind != T_NAME)
    fail_name("a member's name must stand before", spelling());
  if (!whole->node_type->type_complete)
    fail("a struct of which the members are not known");
  struct member *m = find_member(whole->node_type, tok->token_name);
  if (!m)
    fail_name("no such member", tok->token_name->name_text);
  long offset = found_offset;
  advance();
  struct node *n = place_at(address_of(whole), offset, m->member_type);
  n->node_bit = m->member_bit;
  n->node_width = m->member_width;
  return n;
}

struct node *postfix(void)
{
  struct node *n = primary();
  long length = 0;
  while (1) {
    length = length + 1;
    if (length > NESTING_LIMIT)
      fail("expression too long");
    if (take(P_OPEN)) {
      n = call(n);
    } else if (take(P_OPEN_INDEX)) {
      struct node *index = expression();
      expect(P_CLOSE_INDEX);
      n = deref(binary(P_PLUS, n, index));
    } else if (take(P_DOT)) {
      n = member_of(n);
    } else if (take(P_ARROW)) {
      n = member_of(deref(n));
    } else if (take(P_INCREMENT)) {
      n = modify(n, P_PLUS, number(1, type_int), 1);
    } else if (take(P_DECREMENT)) {
      n = modify(n, P_MINUS, number(1, type_int), 1);
    } else {
      return n;
    }
  }
}

// Unary operators

struct node *unary_expression(void);

struct node *unary_inside(void)
{
  deeper();
  struct node *n = unary_expression();
  shallower();
  return n;
}

struct node *size_of(void)
{
  struct type *type = 0;
  if (kind == P_OPEN && begins_type(peek())) {
    advance();
    type = type_name();
    expect(P_CLOSE);
  } else {
    struct node *n = unary_inside();
    if (n->node_width)
      fail("a bit-field has no size");
    type = n->node_type;
  }
  if (!type->type_complete && type->type_kind != VOID)
    fail("sizeof something without a size");
  return number(type->type_size, type_ulong);
}

// plus gives a promoted value that is no place.
struct node *plus(struct node *n)
{
  n = scalar_of(n);
  if (!is_arithmetic(n->node_type))
    fail("wrong operand of an operator");
  n = promote(n);
  if (is_place(n))
    n = new_node(N_CONVERT, n->node_type, n, 0);
  return n;
}

struct node *unary_expression(void)
{
  struct node *n = 0;
  if (take(P_MINUS))
    return unary(N_NEGATE, cast());
  if (take(P_PLUS))
    return plus(cast());
  if (take(P_TILDE))
    return unary(N_COMPLEMENT, cast());
  if (take(P_NOT))
    return unary(N_NOT, cast());
  if (take(P_STAR)) {
    n = value_of(cast());
    // A function is what its pointer points to.
    return deref(n);
  }
  if (take(P_AND)) {
    n = cast();
    if (!is_place(n))
      fail("this has no address");
    return address_of(n);
  }
  if (take(P_INCREMENT))
    return modify(unary_inside(), P_PLUS, number(1, type_int), 0);
  if (take(P_DECREMENT))
    return modify(unary_inside(), P_MINUS, number(1, type_int), 0);
  if (take(K_SIZEOF))
    return size_of();
  if (take(K_EXTENSION))
    return cast();
  return postfix();
}

struct node *cast_inside(void)
{
  if (kind != P_OPEN || !begins_type(peek()))
    return unary_expression();
  advance();
  struct type *type = type_name();
  expect(P_CLOSE);
  if (kind == P_OPEN_BLOCK)
    fail("compound literals are not accepted");
  struct node *n = value_of(cast());
  if (type->type_kind == STRUCT && n->node_type == type)
    return n;
  n = convert(n, type);
  // What was cast is a value and no place.
  if (is_place(n))
    n = new_node(N_CONVERT, type, n, 0);
  return n;
}

struct node *cast(void)
{
  deeper();
  struct node *n = cast_inside();
  shallower();
  return n;
}

// Binary operators by their levels. A chain of them is a tree as deep as the
// chain is long, so that has a limit too.

struct node *binary_expression(long level)
{
  struct node *left = cast();
  long length = 0;
  while (1) {
    long operator = kind;
    long own = binary_level(operator);
    if (own == 0 || own < level)
      return left;
    length = length + 1;
    if (length > NESTING_LIMIT)
      fail("expression too long");
    advance();
    struct node *right = binary_expression(own + 1);
    if (operator == P_AND_AND)
      left = logical(N_AND_AND, left, right);
    else if (operator == P_OR_OR)
      left = logical(N_OR_OR, left, right);
    else
      left = binary(operator, left, right);
  }
}

struct node *conditional_expression(void)
{
  struct node *test = binary_expression(1);
  if (!take(P_QUESTION))
    return test;
  deeper();
  struct node *yes = expression();
  expect(P_COLON);
  struct node *no = conditional_expression();
  shallower();
  return condition(test, yes, no);
}

// set_operator gives the operator of a compound assignment, or 0.
long set_operator(long set)
{
  if (set == P_ADD_SET)
    return P_PLUS;
  if (set == P_SUBTRACT_SET)
    return P_MINUS;
  if (set == P_MULTIPLY_SET)
    return P_STAR;
  if (set == P_DIVIDE_SET)
    return P_SLASH;
  if (set == P_MODULO_SET)
    return P_PERCENT;
  if (set == P_AND_SET)
    return P_AND;
  if (set == P_OR_SET)
    return P_OR;
  if (set == P_XOR_SET)
    return P_XOR;
  if (set == P_SHIFT_LEFT_SET)
    return P_SHIFT_LEFT;
  if (set == P_SHIFT_RIGHT_SET)
    return P_SHIFT_RIGHT;
  return 0;
}

struct node *assignment(void)
{
  struct node *left = conditional_expression();
  long operator = set_operator(kind);
  if (kind != P_SET && !operator)
    return left;
  advance();
  deeper();
  struct node *right = assignment();
  shallower();
  if (!operator)
    return assign(left, right);
  return modify(left, operator, right, 0);
}

struct node *expression(void)
{
  struct node *left = assignment();
  long length = 0;
  while (take(P_COMMA)) {
    length = length + 1;
    if (length > NESTING_LIMIT)
      fail("expression too long");
    left = comma(left, assignment());
  }
  return left;
}

// constant_expression gives the value of an integer constant.
long constant_expression(void)
{
  struct node *n = conditional_expression();
  if (!is_number(n) || !is_integer(n->node_type))
    fail("an integer constant must stand here");
  return n->node_value;
}
