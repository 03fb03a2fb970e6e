// Code: machine code and data, byte by byte, and references to objects, the
// addresses of which are known only at the end.

enum { CODE_LIMIT = 16777216, DATA_LIMIT = 16777216 };

char code[CODE_LIMIT];
long code_size;
char data[DATA_LIMIT];
long data_size;
long zero_size;                 // of what is not in the file

enum { R_CODE_DISTANCE, R_CODE_ADDRESS, R_DATA_ADDRESS };

struct reference {
  struct reference *reference_next;
  long reference_kind;
  long reference_at;            // where the address is needed
  struct object *reference_object;
  long reference_offset;        // added to the object's address
};

struct reference *references;
struct reference *last_reference;

void refer(long how, long at, struct object *object, long offset)
{
  struct reference *r = (struct reference *)allocate((long)sizeof(struct reference));
  r->reference_kind = how;
  r->reference_at = at;
  r->reference_object = object;
  r->reference_offset = offset;
  if (last_reference)
    last_reference->reference_next = r;
  else
    references = r;
  last_reference = r;
  if (!object->object_used) {
    object->object_used = 1;
    if (object->object_section == NOWHERE) {
      object->object_file = here_file;
      object->object_line = here_line;
    }
  }
}

// Little-endian numbers in code or data

void put_number(char *at, long value, long bytes)
{
  while (bytes > 0) {
    at[0] = (char)(value & 255);
    value = value >> 8;
    at = at + 1;
    bytes = bytes - 1;
  }
}

long fits8(long value)
{
  return value >= -128 && value <= 127;
}

long fits32(long value)
{
  return value >= -2147483648 && value <= 2147483647;
}

void byte(long value)
{
  if (code_size >= CODE_LIMIT)
    fail("too much code");
  code[code_size] = (char)value;
  code_size = code_size + 1;
}

void bytes4(long value)
{
  if (code_size > CODE_LIMIT - 8)
    fail("too much code");
  put_number(&code[code_size], value, 4);
  code_size = code_size + 4;
}

void bytes8(long value)
{
  bytes4(value);
  bytes4(value >> 32);
}

// emit takes bytes as hexadecimal text, so that instructions can be read.
void emit(char *text)
{
  while (text[0]) {
    if (text[0] == ' ') {
      text = text + 1;
    } else {
      byte(digit_value(text[0]) * 16 + digit_value(text[1]));
      text = text + 2;
    }
  }
}

// Registers as operands have these numbers.
enum { RAX = 0, RCX = 1, RDX = 2, RBP = 5, RSI = 6 };

// Places in memory: [rbp + offset], [rax + offset], [rcx + offset], or an object
enum { AT_RBP, AT_RAX, AT_RCX, AT_OBJECT };

// operand writes the bytes behind an opcode that name a register and a place.
void operand(long reg, long at, long offset, struct object *object)
{
  long base = RBP;
  if (at == AT_OBJECT) {
    byte(reg * 8 + 4);          // a byte follows that says: 32-bit address
    byte(0x25);
    refer(R_CODE_ADDRESS, code_size, object, offset);
    bytes4(0);
    return;
  }
  if (!fits32(offset))
    fail("too far within an object");
  if (at == AT_RAX)
    base = RAX;
  if (at == AT_RCX)
    base = RCX;
  if (fits8(offset)) {
    byte(0x40 + reg * 8 + base);
    byte(offset);
  } else {
    byte(0x80 + reg * 8 + base);
    bytes4(offset);
  }
}

// load fetches a value of a type into a register, extended to 64 bits.
void load(struct type *type, long reg, long at, long offset, struct object *object)
{
  long k = type->type_kind;
  if (k == CHAR)
    emit("48 0F BE");           // movsx reg, byte
  else if (k == UCHAR)
    emit("0F B6");              // movzx reg, byte
  else if (k == SHORT)
    emit("48 0F BF");           // movsx reg, word
  else if (k == USHORT)
    emit("0F B7");              // movzx reg, word
  else if (k == INT)
    emit("48 63");              // movsxd reg, dword
  else if (k == UINT || k == FLOAT)
    emit("8B");                 // mov reg, dword
  else
    emit("48 8B");              // mov reg, qword
  operand(reg, at, offset, object);
}

// store puts the low bytes of a register into a place of a type.
void store(struct type *type, long reg, long at, long offset, struct object *object)
{
  if (type->type_size == 1 && reg == RSI)
    emit("40");                 // prefix: sil, not dh
  if (type->type_size == 1) {
    emit("88");                 // mov byte, reg
  } else if (type->type_size == 2) {
    emit("66 89");              // mov word, reg
  } else if (type->type_size == 4) {
    emit("89");                 // mov dword, reg
  } else {
    emit("48 89");              // mov qword, reg
  }
  operand(reg, at, offset, object);
}

// load_number sets rax or rcx.
void load_number(long reg, long value)
{
  if (value == 0) {
    byte(0x31);                 // xor reg, reg
    byte(0xc0 + reg * 9);
  } else if (value > 0 && value <= 4294967295) {
    byte(0xb8 + reg);           // mov reg, imm32
    bytes4(value);
  } else if (fits32(value)) {
    emit("48 C7");              // mov reg, imm32 extended
    byte(0xc0 + reg);
    bytes4(value);
  } else {
    byte(0x48);                 // mov reg, imm64
    byte(0xb8 + reg);
    bytes8(value);
  }
}

// Labels: places in the code that are jumped to, often before they are known

struct jump {
  struct jump *jump_next;
  long jump_at;                 // of the distance, 4 bytes
};

struct label {
  long label_at;                // -1: not known yet
  struct jump *label_jumps;     // to be patched
  struct name *label_name;      // of a label in the source
  struct label *label_next;     // in the same function
  long label_line;              // where it was used first
};

struct label *new_label(void)
{
  struct label *l = (struct label *)allocate((long)sizeof(struct label));
  l->label_at = -1;
  return l;
}

// distance_to writes the 4 bytes of a jump's distance.
void distance_to(struct label *l)
{
  if (l->label_at < 0) {
    struct jump *j = (struct jump *)allocate((long)sizeof(struct jump));
    j->jump_at = code_size;
    j->jump_next = l->label_jumps;
    l->label_jumps = j;
    bytes4(0);
  } else {
    bytes4(l->label_at - code_size - 4);
  }
}

void jump_to(struct label *l)
{
  emit("E9");                   // jmp
  distance_to(l);
}

// Conditions as the processor numbers them; an odd one is the opposite of the
// even one below.
enum {
  IF_BELOW = 2, IF_NOT_BELOW = 3, IF_EQUAL = 4, IF_NOT_EQUAL = 5, IF_NOT_ABOVE = 6, IF_ABOVE = 7,
  IF_LESS = 12, IF_NOT_LESS = 13, IF_NOT_GREATER = 14, IF_GREATER = 15
};

void jump_if(long how, struct label *l)
{
  byte(0x0f);
  byte(0x80 + how);             // jcc
  distance_to(l);
}

void set_label(struct label *l)
{
  struct jump *j = l->label_jumps;
  l->label_at = code_size;
  while (j) {
    put_number(&code[j->jump_at], code_size - j->jump_at - 4, 4);
    j = j->jump_next;
  }
}

// Data

// new_data gives room for an object's initial value, zero at first.
long new_data(long size, long align)
{
  data_size = align_up(data_size, align);
  if (size > DATA_LIMIT - data_size)
    fail("too much data");
  long at = data_size;
  data_size = data_size + size;
  return at;
}

// string_object makes an object of a string's bytes; n counts the NUL.
struct object *string_object(char *bytes, long n)
{
  struct object *o = new_object("", array_of(type_char, n));
  o->object_section = IN_DATA;
  o->object_offset = new_data(n, 1);
  copy_bytes(&data[o->object_offset], bytes, n);
  return o;
}
