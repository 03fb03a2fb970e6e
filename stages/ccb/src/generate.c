// Generation: from trees to machine code.
//
// generate leaves a tree's value in rax: an integer or pointer extended to 64
// bits, a double or float as its bits, a struct or long double as the address
// where it lies.
// While a second operand is calculated the first waits on the stack. rcx, rdx,
// rsi, rdi, r8 and the xmm registers hold nothing from one tree to the next.

void generate(struct node *n);
void branch(struct node *n, long sense, struct label *target);

// Places

// place_address leaves the address of a place in rax.
void place_address(struct node *n)
{
  if (n->node_op == N_LOCAL) {
    emit("48 8D");              // lea rax, [rbp + offset]
    operand(RAX, AT_RBP, n->node_value, 0);
  } else if (n->node_op == N_GLOBAL) {
    emit("B8");                 // mov eax, address
    refer(R_CODE_ADDRESS, code_size, n->node_object, n->node_value);
    bytes4(0);
  } else if (n->node_op == N_DEREF) {
    generate(n->node_left);
    if (n->node_value) {
      emit("48 8D");            // lea rax, [rax + offset]
      operand(RAX, AT_RAX, n->node_value, 0);
    }
  } else {
    generate(n);
  }
}

// easy tells whether a value can be loaded to any register without a
// calculation: a constant, or a variable.
long easy(struct node *n)
{
  if (n->node_type->type_kind == LDOUBLE)
    return 0;
  if (n->node_op == N_NUMBER || n->node_op == N_FLOAT)
    return 1;
  return (n->node_op == N_LOCAL || n->node_op == N_GLOBAL) && is_scalar(n->node_type) && !n->node_width;
}

void load_easy(struct node *n, long reg)
{
  if (n->node_op == N_NUMBER || n->node_op == N_FLOAT)
    load_number(reg, n->node_value);
  else if (n->node_op == N_LOCAL)
    load(n->node_type, reg, AT_RBP, n->node_value, 0);
  else
    load(n->node_type, reg, AT_OBJECT, n->node_value, n->node_object);
}

// unit_of gives the type without a sign in which a bit-field is stored.
struct type *unit_of(struct type *type)
{
  if (type->type_size == 1)
    return type_uchar;
  if (type->type_size == 2)
    return type_ushort;
  if (type->type_size == 4)
    return type_uint;
  return type_ulong;
}

// extract cuts a bit-field of the width out of rax, where its lowest bit is `bit`.
void extract(struct node *place, long bit)
{
  emit("48 C1 E0");             // shl rax, ...
  byte(64 - bit - place->node_width);
  if (is_unsigned(place->node_type))
    emit("48 C1 E8");           // shr rax, ...
  else
    emit("48 C1 F8");           // sar rax, ...
  byte(64 - place->node_width);
}

void load_place(struct node *n)
{
  struct type *type = n->node_type;
  if (by_address(type) || type->type_kind == ARRAY || type->type_kind == FUNCTION) {
    place_address(n);
    return;
  }
  if (type->type_kind == VOID)
    fail("a value of type void");
  if (n->node_width)
    type = unit_of(type);
  if (n->node_op == N_LOCAL) {
    load(type, RAX, AT_RBP, n->node_value, 0);
  } else if (n->node_op == N_GLOBAL) {
    load(type, RAX, AT_OBJECT, n->node_value, n->node_object);
  } else {
    generate(n->node_left);
    load(type, RAX, AT_RAX, n->node_value, 0);
  }
  if (n->node_width)
    extract(n, n->node_bit);
}

// Assignments

// copy_size tells how many bytes of a struct or long double have a meaning.
long copy_size(struct type *type)
{
  if (type->type_kind == LDOUBLE)
    return 10;
  return type->type_size;
}

// copy_struct copies so many bytes from rax to the address in rdi, and leaves
// that address in rax.
void copy_struct(long size)
{
  emit("48 89 C6");             // mov rsi, rax
  emit("48 89 F8");             // mov rax, rdi
  emit("B9");                   // mov ecx, size
  bytes4(size);
  emit("F3 A4");                // rep movsb
}

// store_bits puts the low bits of rax into a bit-field of the unit at rcx, and
// leaves its value in rax.
void store_bits(struct node *place)
{
  struct type *unit = unit_of(place->node_type);
  long width = place->node_width;
  long bit = place->node_bit;
  long mask = shift_right_unsigned(-1, 64 - width);
  emit("48 89 C2");             // mov rdx, rax
  emit("48 C1 E2");             // shl rdx, ...
  byte(64 - width);
  emit("48 C1 EA");             // shr rdx, ...
  byte(64 - width - bit);
  load(unit, RSI, AT_RCX, place->node_value, 0);
  emit("49 B8");                // mov r8, the other bits
  bytes8(~shift_left(mask, bit));
  emit("4C 21 C6");             // and rsi, r8
  emit("48 09 D6");             // or rsi, rdx
  store(unit, RSI, AT_RCX, place->node_value, 0);
  extract(place, 0);
}

void generate_assign(struct node *n)
{
  struct node *place = n->node_left;
  struct node *value = n->node_right;
  struct type *type = place->node_type;
  if (by_address(type)) {
    place_address(place);
    emit("50");                 // push rax
    generate(value);
    emit("5F");                 // pop rdi
    copy_struct(copy_size(type));
  } else if (place->node_width) {
    // The address of the unit, without the place's own offset
    struct node *base = retyped(place, unit_of(type));
    long offset = place->node_value;
    base->node_width = 0;
    if (place->node_op == N_DEREF) {
      base->node_value = 0;
    } else {
      offset = 0;
    }
    place_address(base);
    emit("50");                 // push rax
    generate(value);
    emit("59");                 // pop rcx
    struct node *at_rcx = retyped(place, type);
    at_rcx->node_value = offset;
    store_bits(at_rcx);
  } else if (place->node_op == N_LOCAL) {
    generate(value);
    store(type, RAX, AT_RBP, place->node_value, 0);
  } else if (place->node_op == N_GLOBAL) {
    generate(value);
    store(type, RAX, AT_OBJECT, place->node_value, place->node_object);
  } else if (place->node_left->node_op == N_LOCAL && easy(place->node_left)) {
    generate(value);
    load_easy(place->node_left, RCX);
    store(type, RAX, AT_RCX, place->node_value, 0);
  } else {
    generate(place->node_left);
    emit("50");                 // push rax
    generate(value);
    emit("59");                 // pop rcx
    store(type, RAX, AT_RCX, place->node_value, 0);
  }
}

// Conversions

// extend makes the low bits of rax a value of an integer type.
void extend(struct type *type)
{
  long k = type->type_kind;
  if (k == CHAR)
    emit("48 0F BE C0");        // movsx rax, al
  else if (k == UCHAR)
    emit("0F B6 C0");           // movzx eax, al
  else if (k == SHORT)
    emit("48 0F BF C0");        // movsx rax, ax
  else if (k == USHORT)
    emit("0F B7 C0");           // movzx eax, ax
  else if (k == INT)
    emit("48 63 C0");           // movsxd rax, eax
  else if (k == UINT)
    emit("89 C0");              // mov eax, eax
}

// integer_to_float converts rax to a float or double. A number without a sign
// that is 2^63 or more is halved before, the lowest bit kept for the rounding,
// and doubled after.
void integer_to_float(struct type *from, struct type *to)
{
  struct label *large = new_label();
  struct label *done = new_label();
  long single = to->type_kind == FLOAT;
  if (from->type_kind == ULONG) {
    emit("48 85 C0");           // test rax, rax
    jump_if(IF_LESS, large);
  }
  if (single)
    emit("F3 48 0F 2A C0");     // cvtsi2ss xmm0, rax
  else
    emit("F2 48 0F 2A C0");     // cvtsi2sd xmm0, rax
  if (from->type_kind == ULONG) {
    jump_to(done);
    set_label(large);
    emit("48 89 C1");           // mov rcx, rax
    emit("48 D1 E8");           // shr rax, 1
    emit("83 E1 01");           // and ecx, 1
    emit("48 09 C8");           // or rax, rcx
    if (single) {
      emit("F3 48 0F 2A C0");   // cvtsi2ss xmm0, rax
      emit("F3 0F 58 C0");      // addss xmm0, xmm0
    } else {
      emit("F2 48 0F 2A C0");   // cvtsi2sd xmm0, rax
      emit("F2 0F 58 C0");      // addsd xmm0, xmm0
    }
    set_label(done);
  }
  if (single)
    emit("66 0F 7E C0");        // movd eax, xmm0
  else
    emit("66 48 0F 7E C0");     // movq rax, xmm0
}

// float_to_integer converts rax to an integer, truncating. For a result without
// a sign, 2^63 is taken off before and put back after where it is needed.
void float_to_integer(struct type *from, struct type *to)
{
  struct label *small = new_label();
  struct label *done = new_label();
  if (from->type_kind == FLOAT) {
    emit("66 0F 6E C0");        // movd xmm0, eax
    emit("F3 0F 5A C0");        // cvtss2sd xmm0, xmm0
  } else {
    emit("66 48 0F 6E C0");     // movq xmm0, rax
  }
  if (to->type_kind == ULONG) {
    emit("48 B9 00 00 00 00 00 00 E0 43");  // mov rcx, 2^63 as a double
    emit("66 48 0F 6E C9");     // movq xmm1, rcx
    emit("66 0F 2E C1");        // ucomisd xmm0, xmm1
    jump_if(IF_BELOW, small);
    emit("F2 0F 5C C1");        // subsd xmm0, xmm1
    emit("F2 48 0F 2C C0");     // cvttsd2si rax, xmm0
    emit("48 0F BA F8 3F");     // btc rax, 63
    jump_to(done);
    set_label(small);
  }
  emit("F2 48 0F 2C C0");       // cvttsd2si rax, xmm0
  set_label(done);
  extend(to);
}

// Long doubles are calculated in the registers of the old floating unit, and each
// result gets a place of its own in the frame.

// keep_long stores st0 into a new place and leaves its address in rax.
void keep_long(void)
{
  emit("48 8D");                // lea rax, [rbp + offset]
  operand(RAX, AT_RBP, new_local(16, 8), 0);
  emit("DB 38");                // fstp tbyte [rax]
}

// to_long makes a long double of any other number in rax.
void to_long(struct type *from)
{
  struct label *done = new_label();
  emit("50");                   // push rax
  if (from->type_kind == FLOAT) {
    emit("D9 04 24");           // fld dword [rsp]
  } else if (from->type_kind == DOUBLE) {
    emit("DD 04 24");           // fld qword [rsp]
  } else {
    emit("DF 2C 24");           // fild qword [rsp]
  }
  emit("59");                   // pop rcx
  if (from->type_kind == ULONG) {
    emit("48 85 C0");           // test rax, rax
    jump_if(IF_NOT_LESS, done);
    emit("68 00 00 80 5F");     // push 2^64 as a float
    emit("D8 04 24");           // fadd dword [rsp]
    emit("59");                 // pop rcx
    set_label(done);
  }
  keep_long();
}

// from_long makes another number of the long double at rax.
void from_long(struct type *to)
{
  struct label *small = new_label();
  struct label *done = new_label();
  emit("DB 28");                // fld tbyte [rax]
  if (to->type_kind == FLOAT) {
    emit("50");                 // push rax
    emit("D9 1C 24");           // fstp dword [rsp]
    emit("58");                 // pop rax
    emit("89 C0");              // mov eax, eax
    return;
  }
  if (to->type_kind == DOUBLE) {
    emit("50");                 // push rax
    emit("DD 1C 24");           // fstp qword [rsp]
    emit("58");                 // pop rax
    return;
  }
  emit("68 00 00 00 5F");       // push 2^63 as a float
  if (to->type_kind == ULONG) {
    emit("D9 04 24");           // fld dword [rsp]
    emit("DF E9");              // fucomip st0, st1
    jump_if(IF_ABOVE, small);
    emit("D8 24 24");           // fsub dword [rsp]
    emit("DD 0C 24");           // fisttp qword [rsp]
    emit("58");                 // pop rax
    emit("48 0F BA F8 3F");     // btc rax, 63
    jump_to(done);
    set_label(small);
  }
  emit("DD 0C 24");             // fisttp qword [rsp]
  emit("58");                   // pop rax
  set_label(done);
  extend(to);
}

void generate_convert(struct node *n)
{
  struct type *to = n->node_type;
  struct type *from = n->node_left->node_type;
  generate(n->node_left);
  if (to->type_kind == VOID)
    return;
  if (is_floating(to) && is_floating(from)) {
    if (to->type_kind == from->type_kind)
      return;
    if (to->type_kind == LDOUBLE) {
      to_long(from);
      return;
    }
    if (from->type_kind == LDOUBLE) {
      from_long(to);
      return;
    }
    if (to->type_kind == DOUBLE) {
      emit("66 0F 6E C0");      // movd xmm0, eax
      emit("F3 0F 5A C0");      // cvtss2sd xmm0, xmm0
      emit("66 48 0F 7E C0");   // movq rax, xmm0
    } else {
      emit("66 48 0F 6E C0");   // movq xmm0, rax
      emit("F2 0F 5A C0");      // cvtsd2ss xmm0, xmm0
      emit("66 0F 7E C0");      // movd eax, xmm0
    }
  } else if (to->type_kind == LDOUBLE) {
    to_long(from);
  } else if (from->type_kind == LDOUBLE) {
    from_long(to);
  } else if (is_floating(to)) {
    integer_to_float(from, to);
  } else if (is_floating(from)) {
    float_to_integer(from, to);
  } else {
    // A wider type that takes every value of the narrower needs nothing.
    long fits = to->type_size > from->type_size && (is_unsigned(from) || !is_unsigned(to));
    if (!fits && to->type_kind != from->type_kind)
      extend(to);
  }
}

// Operators

// operands leaves the left operand in rax and the right one in rcx.
void operands(struct node *left, struct node *right)
{
  generate(left);
  if (easy(right)) {
    load_easy(right, RCX);
    return;
  }
  emit("50");                   // push rax
  generate(right);
  emit("48 89 C1");             // mov rcx, rax
  emit("58");                   // pop rax
}

// to_xmm moves both operands to xmm0 and xmm1.
void to_xmm(struct type *type)
{
  if (type->type_kind == FLOAT) {
    emit("66 0F 6E C0");        // movd xmm0, eax
    emit("66 0F 6E C9");        // movd xmm1, ecx
  } else {
    emit("66 48 0F 6E C0");     // movq xmm0, rax
    emit("66 48 0F 6E C9");     // movq xmm1, rcx
  }
}

// compare_floating leaves 1 or 0 in rax. Where a NaN is compared, nothing but !=
// holds; "above" does not hold then, so < is asked as > the other way round.
void compare_floating(struct node *n)
{
  long operator = n->node_operator;
  long swapped = operator == P_LESS || operator == P_LESS_EQUAL;
  operands(n->node_left, n->node_right);
  if (n->node_left->node_type->type_kind == LDOUBLE) {
    if (swapped)
      emit("DB 28 DB 29");      // fld tbyte [rax], fld tbyte [rcx]
    else
      emit("DB 29 DB 28");      // fld tbyte [rcx], fld tbyte [rax]
    emit("DF E9");              // fucomip st0, st1
    emit("DD D8");              // fstp st0
  } else {
    to_xmm(n->node_left->node_type);
    if (n->node_left->node_type->type_kind == DOUBLE)
      emit("66");               // prefix: ucomisd
    if (swapped)
      emit("0F 2E C8");         // ucomiss xmm1, xmm0
    else
      emit("0F 2E C1");         // ucomiss xmm0, xmm1
  }
  if (operator == P_EQUAL) {
    emit("0F 94 C0");           // sete al
    emit("0F 9B C1");           // setnp cl
    emit("20 C8");              // and al, cl
  } else if (operator == P_NOT_EQUAL) {
    emit("0F 95 C0");           // setne al
    emit("0F 9A C1");           // setp cl
    emit("08 C8");              // or al, cl
  } else if (operator == P_LESS || operator == P_GREATER) {
    emit("0F 97 C0");           // seta al
  } else {
    emit("0F 93 C0");           // setae al
  }
  emit("0F B6 C0");             // movzx eax, al
}

// compare_integers compares and gives the condition under which n holds.
long compare_integers(struct node *n)
{
  long operator = n->node_operator;
  struct node *right = n->node_right;
  if (is_number(right) && fits32(right->node_value)) {
    generate(n->node_left);
    if (right->node_value == 0) {
      emit("48 85 C0");         // test rax, rax
    } else {
      emit("48 3D");            // cmp rax, imm32
      bytes4(right->node_value);
    }
  } else {
    operands(n->node_left, right);
    emit("48 39 C8");           // cmp rax, rcx
  }
  if (operator == P_EQUAL)
    return IF_EQUAL;
  if (operator == P_NOT_EQUAL)
    return IF_NOT_EQUAL;
  long without_sign = is_unsigned(n->node_left->node_type);
  if (operator == P_LESS && without_sign)
    return IF_BELOW;
  if (operator == P_LESS)
    return IF_LESS;
  if (operator == P_GREATER_EQUAL && without_sign)
    return IF_NOT_BELOW;
  if (operator == P_GREATER_EQUAL)
    return IF_NOT_LESS;
  if (operator == P_GREATER && without_sign)
    return IF_ABOVE;
  if (operator == P_GREATER)
    return IF_GREATER;
  if (without_sign)
    return IF_NOT_ABOVE;
  return IF_NOT_GREATER;
}

void generate_floating(struct node *n)
{
  long operator = n->node_operator;
  operands(n->node_left, n->node_right);
  if (n->node_type->type_kind == LDOUBLE) {
    emit("DB 28 DB 29");        // fld tbyte [rax], fld tbyte [rcx]
    if (operator == P_PLUS)
      emit("DE C1");            // faddp
    else if (operator == P_MINUS)
      emit("DE E9");            // fsubp
    else if (operator == P_STAR)
      emit("DE C9");            // fmulp
    else
      emit("DE F9");            // fdivp
    keep_long();
    return;
  }
  to_xmm(n->node_type);
  if (n->node_type->type_kind == FLOAT)
    emit("F3 0F");              // prefix: ...ss
  else
    emit("F2 0F");              // prefix: ...sd
  if (operator == P_PLUS)
    emit("58 C1");              // ...add xmm0, xmm1
  else if (operator == P_MINUS)
    emit("5C C1");              // ...sub xmm0, xmm1
  else if (operator == P_STAR)
    emit("59 C1");              // ...mul xmm0, xmm1
  else
    emit("5E C1");              // ...div xmm0, xmm1
  if (n->node_type->type_kind == FLOAT)
    emit("66 0F 7E C0");        // movd eax, xmm0
  else
    emit("66 48 0F 7E C0");     // movq rax, xmm0
}

// divide leaves the quotient in rax, the remainder in rdx; wide is the prefix of
// 64-bit instructions, or nothing.
void divide(char *wide, long without_sign)
{
  if (without_sign)
    emit("31 D2");              // xor edx, edx
  else {
    emit(wide);
    emit("99");                 // cdq or cqo
  }
  emit(wide);
  if (without_sign)
    emit("F7 F1");              // div rcx
  else
    emit("F7 F9");              // idiv rcx
}

void generate_binary(struct node *n)
{
  long operator = n->node_operator;
  if (is_comparison(operator)) {
    if (is_floating(n->node_left->node_type)) {
      compare_floating(n);
      return;
    }
    long how = compare_integers(n);
    byte(0x0f);
    byte(0x90 + how);
    emit("C0");                 // ...al, of a setcc
    emit("0F B6 C0");           // movzx eax, al
    return;
  }
  if (is_floating(n->node_type)) {
    generate_floating(n);
    return;
  }
  char *wide = "48";
  if (n->node_type->type_size == 4)
    wide = "";
  long without_sign = is_unsigned(n->node_type);
  operands(n->node_left, n->node_right);
  if (operator == P_SLASH || operator == P_PERCENT) {
    divide(wide, without_sign);
    if (operator == P_PERCENT)
      emit("48 89 D0");         // mov rax, rdx
  } else {
    emit(wide);
    if (operator == P_PLUS)
      emit("01 C8");            // add rax, rcx
    else if (operator == P_MINUS)
      emit("29 C8");            // sub rax, rcx
    else if (operator == P_STAR)
      emit("0F AF C1");         // imul rax, rcx
    else if (operator == P_AND)
      emit("21 C8");            // and rax, rcx
    else if (operator == P_OR)
      emit("09 C8");            // or rax, rcx
    else if (operator == P_XOR)
      emit("31 C8");            // xor rax, rcx
    else if (operator == P_SHIFT_LEFT)
      emit("D3 E0");            // shl rax, cl
    else if (without_sign)
      emit("D3 E8");            // shr rax, cl
    else
      emit("D3 F8");            // sar rax, cl
  }
  extend(n->node_type);
}

void generate_unary(struct node *n)
{
  struct type *type = n->node_type;
  generate(n->node_left);
  if (type->type_kind == FLOAT) {
    emit("35 00 00 00 80");     // xor eax, sign bit
  } else if (type->type_kind == LDOUBLE) {
    emit("DB 28");              // fld tbyte [rax]
    emit("D9 E0");              // fchs
    keep_long();
  } else if (type->type_kind == DOUBLE) {
    emit("48 0F BA F8 3F");     // btc rax, 63
  } else {
    if (n->node_op == N_NEGATE)
      emit("48 F7 D8");         // neg rax
    else
      emit("48 F7 D0");         // not rax
    extend(type);
  }
}

// truth_of makes 0 and 1 of a condition.
void truth_of(struct node *n)
{
  struct label *no = new_label();
  struct label *done = new_label();
  branch(n, 0, no);
  load_number(RAX, 1);
  jump_to(done);
  set_label(no);
  load_number(RAX, 0);
  set_label(done);
}

// branch jumps to the target if the truth of n is `sense`, else goes on.
void branch(struct node *n, long sense, struct label *target)
{
  if (n->node_op == N_NOT) {
    branch(n->node_left, !sense, target);
  } else if (n->node_op == N_AND_AND || n->node_op == N_OR_OR) {
    // a || b is !(!a && !b): the first decides if it has the value that the
    // operator wants.
    long deciding = n->node_op == N_OR_OR;
    if (deciding == sense) {
      branch(n->node_left, sense, target);
      branch(n->node_right, sense, target);
    } else {
      struct label *skip = new_label();
      branch(n->node_left, deciding, skip);
      branch(n->node_right, sense, target);
      set_label(skip);
    }
  } else if (is_number(n)) {
    if (is_true(n) == sense)
      jump_to(target);
  } else if (n->node_op == N_BINARY && is_comparison(n->node_operator) && !is_floating(n->node_left->node_type)) {
    long how = compare_integers(n);
    if (!sense)
      how = how ^ 1;
    jump_if(how, target);
  } else {
    generate(n);
    // A long double is true if it is not equal to 0, or not comparable.
    if (n->node_type->type_kind == LDOUBLE) {
      emit("DB 28 D9 EE");      // fld tbyte [rax], fldz
      emit("DF E9 DD D8");      // fucomip st0, st1, fstp st0
      emit("0F 95 C0 0F 9A C1");        // setne al, setp cl
      emit("08 C8");            // or al, cl
    } else if (n->node_type->type_kind == DOUBLE)
      emit("48 01 C0");         // add rax, rax: without the sign
    else if (n->node_type->type_kind == FLOAT)
      emit("01 C0");            // add eax, eax
    else
      emit("48 85 C0");         // test rax, rax
    if (sense)
      jump_if(IF_NOT_EQUAL, target);
    else
      jump_if(IF_EQUAL, target);
  }
}

void generate_condition(struct node *n)
{
  struct label *no = new_label();
  struct label *done = new_label();
  branch(n->node_left, 0, no);
  generate(n->node_right);
  jump_to(done);
  set_label(no);
  generate(n->node_third);
  set_label(done);
}

// Calls

long slots_of(struct type *type)
{
  return (type->type_size + 7) / 8;
}

// push_arguments pushes a list of arguments, the last first, and gives the
// number of slots.
long push_arguments(struct node *n)
{
  if (!n)
    return 0;
  long slots = push_arguments(n->node_next);
  generate(n);
  if (!by_address(n->node_type)) {
    emit("50");                 // push rax
    return slots + 1;
  }
  long size = slots_of(n->node_type);
  emit("48 81 EC");             // sub rsp, ...
  bytes4(size * 8);
  emit("48 89 E7");             // mov rdi, rsp
  copy_struct(copy_size(n->node_type));
  return slots + size;
}

void generate_call(struct node *n)
{
  struct node *function = n->node_left;
  long slots = push_arguments(n->node_right);
  if (by_address(n->node_type)) {
    emit("48 8D");              // lea rax, [room for the result]
    operand(RAX, AT_RBP, n->node_value, 0);
    emit("50");                 // push rax
    slots = slots + 1;
  }
  if (function->node_op == N_ADDRESS && function->node_left->node_op == N_GLOBAL) {
    emit("E8");                 // call
    refer(R_CODE_DISTANCE, code_size, function->node_left->node_object, function->node_left->node_value);
    bytes4(0);
  } else {
    generate(function);
    emit("FF D0");              // call rax
  }
  if (slots) {
    emit("48 81 C4");           // add rsp, ...
    bytes4(slots * 8);
  }
}

// discard carries out a tree of which the value is not used.
void discard(struct node *n)
{
  if (n->node_op == N_POSTFIX) {
    discard(n->node_right);
  } else if (n->node_op == N_COMMA) {
    discard(n->node_left);
    discard(n->node_right);
  } else if (n->node_op == N_CONVERT && n->node_type->type_kind == VOID) {
    discard(n->node_left);
  } else {
    generate(n);
  }
}

// put_long writes the 10 bytes of a long double.
void put_long(char *at, struct node *n)
{
  put_number(at, n->node_value, 8);
  put_number(at + 8, n->node_bit, 2);
}

// long_object puts a constant of type long double into the data.
struct object *long_object(struct node *n)
{
  struct object *o = new_object("", type_long_double);
  o->object_section = IN_DATA;
  o->object_offset = new_data(16, 16);
  put_long(&data[o->object_offset], n);
  return o;
}

void generate(struct node *n)
{
  long op = n->node_op;
  if (op == N_FLOAT && n->node_type->type_kind == LDOUBLE) {
    place_address(object_place(long_object(n), n->node_type));
  } else if (op == N_NUMBER || op == N_FLOAT) {
    load_number(RAX, n->node_value);
  } else if (is_place(n)) {
    load_place(n);
  } else if (op == N_ADDRESS) {
    place_address(n->node_left);
  } else if (op == N_CONVERT) {
    generate_convert(n);
  } else if (op == N_BINARY) {
    generate_binary(n);
  } else if (op == N_NEGATE || op == N_COMPLEMENT) {
    generate_unary(n);
  } else if (op == N_NOT || op == N_AND_AND || op == N_OR_OR) {
    truth_of(n);
  } else if (op == N_CONDITION) {
    generate_condition(n);
  } else if (op == N_COMMA) {
    discard(n->node_left);
    generate(n->node_right);
  } else if (op == N_ASSIGN) {
    generate_assign(n);
  } else if (op == N_POSTFIX) {
    generate(n->node_left);
  } else {
    generate_call(n);
  }
}
