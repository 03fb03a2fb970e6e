// Initialisers: what stands behind the = of a declaration becomes a list of
// items, each with its offset in the object. Items then become bytes of the data,
// or code that fills a local variable.

struct item {
  struct item *item_next;
  long item_offset;
  struct type *item_type;
  struct member *item_field;    // a bit-field, or 0
  struct node *item_value;
  char *item_bytes;             // a string instead of a value
  long item_length;
};

struct item *items;
struct item *last_item;
struct node *pending;           // a value that was read before its place was known

struct item *new_item(struct type *type, long offset)
{
  struct item *i = (struct item *)allocate((long)sizeof(struct item));
  i->item_type = type;
  i->item_offset = offset;
  if (last_item)
    last_item->item_next = i;
  else
    items = i;
  last_item = i;
  return i;
}

struct node *initial_value(void)
{
  struct node *n = pending;
  pending = 0;
  if (n)
    return n;
  return assignment();
}

void initialise(struct type *type, long offset, struct member *field);

// initialise_list gives values to the elements or members of a whole. Without
// braces of its own it takes as many values as it has places, and leaves the
// comma behind them to the whole around it. It gives the number of values.
long initialise_list(struct type *type, long offset, long braced)
{
  struct member *m = type->type_members;
  deeper();
  long is_array = type->type_kind == ARRAY;
  long count = 0;
  while (1) {
    if (kind == P_CLOSE_BLOCK && !pending)
      break;
    if (kind == P_DOT || kind == P_OPEN_INDEX)
      fail("designated initialisers are not accepted");
    if (is_array && type->type_count >= 0 && count >= type->type_count)
      fail("too many initial values");
    if (!is_array && !m)
      fail("too many initial values");
    if (is_array) {
      initialise(type->type_base, offset + count * type->type_base->type_size, 0);
    } else {
      initialise(m->member_type, offset + m->member_offset, m);
      m = m->member_next;
      if (type->type_union)
        m = 0;
    }
    count = count + 1;
    long full = m == 0;
    if (is_array)
      full = count == type->type_count;
    if (kind != P_COMMA)
      break;
    if (!braced && (full || kind_of(peek()) == P_CLOSE_BLOCK))
      break;
    advance();
  }
  shallower();
  return count;
}

// string_item: an array of char takes a string, with or without braces.
void string_item(struct type *type, long offset)
{
  long braced = take(P_OPEN_BLOCK);
  string_literal();
  if (type->type_count < 0)
    set_count(type, string_length + 1);
  if (string_length > type->type_count)
    fail("string too long for its array");
  struct item *i = new_item(type, offset);
  i->item_bytes = string_bytes;
  i->item_length = string_length;
  if (braced) {
    take(P_COMMA);
    expect(P_CLOSE_BLOCK);
  }
}

void initialise(struct type *type, long offset, struct member *field)
{
  long count = 0;
  long starts = !pending && kind == P_OPEN_BLOCK;
  if (type->type_kind == ARRAY) {
    if (type->type_base->type_size == 1 && !pending) {
      if (kind == T_STRING || (kind == P_OPEN_BLOCK && kind_of(peek()) == T_STRING)) {
        string_item(type, offset);
        return;
      }
    }
    if (starts)
      advance();
    count = initialise_list(type, offset, starts);
    if (starts)
      expect(P_CLOSE_BLOCK);
    if (type->type_count < 0)
      set_count(type, count);
  } else if (type->type_kind == STRUCT) {
    if (!type->type_complete)
      fail("a struct of which the members are not known");
    if (starts) {
      advance();
      initialise_list(type, offset, 1);
      expect(P_CLOSE_BLOCK);
      return;
    }
    // Either the value of the whole, or the first of values for its members
    if (pending || kind != T_STRING) {
      struct node *n = initial_value();
      if (n->node_type == type) {
        new_item(type, offset)->item_value = n;
        return;
      }
      pending = n;
    }
    initialise_list(type, offset, 0);
  } else {
    if (starts)
      advance();
    struct item *i = new_item(type, offset);
    i->item_value = assignable(initial_value(), type);
    if (field && field->member_width)
      i->item_field = field;
    if (starts) {
      take(P_COMMA);
      expect(P_CLOSE_BLOCK);
    }
  }
}

// initialiser reads a whole initialiser. An array of unknown size gets its size.
struct item *initialiser(struct type *type)
{
  items = 0;
  last_item = 0;
  pending = 0;
  if (type->type_kind == ARRAY && kind != P_OPEN_BLOCK && kind != T_STRING)
    fail("an array needs values in braces");
  long braced = kind == P_OPEN_BLOCK;
  initialise(type, 0, 0);
  if (pending || (type->type_kind == STRUCT && !braced && items->item_type != type))
    fail("a struct needs values in braces, or a struct");
  return items;
}

// Data

// keeps_bits: a conversion of all 64 bits of an integer or pointer changes nothing.
long keeps_bits(struct type *from, struct type *to)
{
  return from->type_size == 8 && to->type_size == 8 && !is_floating(from) && !is_floating(to);
}

// data_value writes one constant into the data.
void data_value(struct item *i, long at)
{
  struct node *n = i->item_value;
  while (n->node_op == N_CONVERT && keeps_bits(n->node_left->node_type, n->node_type))
    n = n->node_left;
  struct node *place = n->node_left;
  if (n->node_op == N_ADDRESS && place->node_op == N_GLOBAL && i->item_type->type_size == 8) {
    refer(R_DATA_ADDRESS, at, place->node_object, place->node_value);
    return;
  }
  if (n->node_op != N_NUMBER && n->node_op != N_FLOAT)
    fail("an initial value must be a constant here");
  if (n->node_type->type_kind == LDOUBLE) {
    put_long(&data[at], n);
    return;
  }
  long value = n->node_value;
  long size = i->item_type->type_size;
  if (i->item_field) {
    long bit = i->item_field->member_bit;
    long width = i->item_field->member_width;
    value = shift_left(value & shift_right_unsigned(-1, 64 - width), bit);
    long k = 0;
    for (k = 0; k < size; k = k + 1)
      data[at + k] = (char)(data[at + k] | ((value >> (k * 8)) & 255));
    return;
  }
  put_number(&data[at], value, size);
}

// data_items fills an object of the data.
void data_items(struct item *i, long base)
{
  while (i) {
    if (i->item_bytes)
      copy_bytes(&data[base + i->item_offset], i->item_bytes, i->item_length);
    else
      data_value(i, base + i->item_offset);
    i = i->item_next;
  }
}

// Local variables

struct node *local_place(long at, struct type *type)
{
  struct node *n = new_node(N_LOCAL, type, 0, 0);
  n->node_value = at;
  return n;
}

void fill_local(struct item *i, long at, struct type *type)
{
  if (!is_scalar(type) && (!i || i->item_type != type || i->item_bytes)) {
    place_address(local_place(at, type));
    emit("48 89 C7");           // mov rdi, rax
    emit("31 C0");              // xor eax, eax
    emit("B9");                 // mov ecx, size
    bytes4(type->type_size);
    emit("F3 AA");              // rep stosb
  }
  while (i) {
    struct node *place = local_place(at + i->item_offset, i->item_type);
    if (i->item_bytes) {
      if (i->item_length) {
        place_address(place);
        emit("48 89 C7");       // mov rdi, rax
        place_address(object_place(string_object(i->item_bytes, i->item_length), i->item_type));
        copy_struct(i->item_length);
      }
    } else {
      if (i->item_field) {
        place->node_bit = i->item_field->member_bit;
        place->node_width = i->item_field->member_width;
      }
      discard(assign(place, i->item_value));
    }
    i = i->item_next;
  }
}
