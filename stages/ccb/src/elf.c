// ELF: the built-in functions, the addresses of all objects, the references to
// them, and the file.

enum { BASE = 0x400000, PAGE = 4096, HEADERS = 176 };

long code_address;
long data_address;
long data_at;                   // of the data in the file
long zero_address;

// Built-in functions are emitted when something refers to them.

long wanted(char *text)
{
  struct object *o = name_of_text(text)->external;
  if (!o || !o->object_used || o->object_section != NOWHERE)
    return 0;
  o->object_section = IN_CODE;
  o->object_offset = code_size;
  return 1;
}

void built_in_functions(void)
{
  if (wanted("__syscall")) {
    emit("48 8B 44 24 08");     // mov rax, [rsp + 8]
    emit("48 8B 7C 24 10");     // mov rdi, [rsp + 16]
    emit("48 8B 74 24 18");     // mov rsi, [rsp + 24]
    emit("48 8B 54 24 20");     // mov rdx, [rsp + 32]
    emit("4C 8B 54 24 28");     // mov r10, [rsp + 40]
    emit("4C 8B 44 24 30");     // mov r8, [rsp + 48]
    emit("4C 8B 4C 24 38");     // mov r9, [rsp + 56]
    emit("0F 05");              // syscall
    emit("C3");                 // ret
  }
  // A buffer of setjmp: rbp, rsp behind the return, the return's address
  if (wanted("__setjmp")) {
    emit("48 8B 4C 24 08");     // mov rcx, [rsp + 8]
    emit("48 89 29");           // mov [rcx], rbp
    emit("48 8D 44 24 08");     // lea rax, [rsp + 8]
    emit("48 89 41 08");        // mov [rcx + 8], rax
    emit("48 8B 04 24");        // mov rax, [rsp]
    emit("48 89 41 10");        // mov [rcx + 16], rax
    emit("31 C0");              // xor eax, eax
    emit("C3");                 // ret
  }
  if (wanted("__longjmp")) {
    emit("48 8B 4C 24 08");     // mov rcx, [rsp + 8]
    emit("48 63 44 24 10");     // movsxd rax, [rsp + 16]
    emit("48 8B 29");           // mov rbp, [rcx]
    emit("48 8B 61 08");        // mov rsp, [rcx + 8]
    emit("FF 61 10");           // jmp [rcx + 16]
  }
}

// start_code is where the program starts; it gives its place in the code.
long start_code(void)
{
  struct object *main_object = name_of_text("__libc_start")->external;
  if (!main_object)
    main_object = new_object("__libc_start", type_int);
  long at = code_size;
  emit("48 89 E0");             // mov rax, rsp
  emit("31 ED");                // xor ebp, ebp
  emit("50");                   // push rax
  emit("E8");                   // call
  refer(R_CODE_DISTANCE, code_size, main_object, 0);
  bytes4(0);
  emit("0F 0B");                // ud2
  return at;
}

// place_tentative puts what has no initial value behind the data.
void place_tentative(void)
{
  struct object *o = objects;
  while (o) {
    if (o->object_section == NOWHERE && o->object_tentative) {
      struct type *type = o->object_type;
      here_file = o->object_file;
      here_line = o->object_line;
      if (type->type_kind == ARRAY && type->type_count < 0)
        set_count(type, 1);
      if (!type->type_complete)
        fail_name("a variable without a size", o->object_name);
      zero_size = align_up(zero_size, type->type_align);
      o->object_section = IN_ZERO;
      o->object_offset = zero_size;
      zero_size = zero_size + type->type_size;
      if (zero_size > SIZE_LIMIT)
        fail("too much data");
    }
    o = o->object_next;
  }
}

long address(struct object *o)
{
  if (o->object_section == IN_CODE)
    return code_address + o->object_offset;
  if (o->object_section == IN_DATA)
    return data_address + o->object_offset;
  if (o->object_section == IN_ZERO)
    return zero_address + o->object_offset;
  here_file = o->object_file;
  here_line = o->object_line;
  fail_name("used but not defined anywhere", o->object_name);
  return 0;
}

void resolve(struct reference *r)
{
  while (r) {
    long target = wrap_add(address(r->reference_object), r->reference_offset);
    if (r->reference_kind == R_CODE_DISTANCE)
      put_number(&code[r->reference_at], target - (code_address + r->reference_at + 4), 4);
    else if (r->reference_kind == R_DATA_ADDRESS)
      put_number(&data[r->reference_at], target, 8);
    else if (!fits32(target))
      fail_name("too far within an object", r->reference_object->object_name);
    else
      put_number(&code[r->reference_at], target, 4);
    r = r->reference_next;
  }
}

// program_header writes one of 56 bytes.
void program_header(char *at, long flags, long offset, long start, long file_size, long memory_size)
{
  put_number(at, 1, 4);                 // PT_LOAD
  put_number(at + 4, flags, 4);
  put_number(at + 8, offset, 8);
  put_number(at + 16, start, 8);
  put_number(at + 24, start, 8);
  put_number(at + 32, file_size, 8);
  put_number(at + 40, memory_size, 8);
  put_number(at + 48, PAGE, 8);
}

char *elf_header(long entry)
{
  char *h = allocate(HEADERS);
  put_number(h, 0x464c457f, 4);         // the bytes 7f E L F
  h[4] = 2;                             // 64 bits
  h[5] = 1;                             // little-endian
  h[6] = 1;                             // version
  put_number(h + 16, 2, 2);             // an executable
  put_number(h + 18, 62, 2);            // amd64
  put_number(h + 20, 1, 4);             // version
  put_number(h + 24, entry, 8);
  put_number(h + 32, 64, 8);            // where the program headers are
  put_number(h + 52, 64, 2);            // size of this header
  put_number(h + 54, 56, 2);            // size of a program header
  put_number(h + 56, 2, 2);             // how many
  put_number(h + 58, 64, 2);            // size of a section header
  program_header(h + 64, 5, 0, BASE, HEADERS + code_size, HEADERS + code_size);
  program_header(h + 120, 6, data_at, data_address, data_size, align_up(data_size, 16) + zero_size);
  return h;
}

// write_program finishes the program and writes it.
void write_program(char *path)
{
  long started = start_code();
  built_in_functions();
  place_tentative();
  code_address = BASE + HEADERS;
  data_at = align_up(HEADERS + code_size, PAGE);
  data_address = BASE + data_at;
  zero_address = data_address + align_up(data_size, 16);
  resolve(references);
  here_file = 0;
  char *header = elf_header(code_address + started);
  long file = sys3(SYS_OPEN, (long)path, 577, 493);     // to write, new, 0755
  if (file < 0)
    fail_name("can not write", path);
  write_all(file, header, HEADERS, path);
  write_all(file, code, code_size, path);
  write_all(file, allocate(PAGE), data_at - HEADERS - code_size, path);
  write_all(file, data, data_size, path);
  if (sys3(SYS_FCHMOD, file, 493, 0) < 0 || sys3(SYS_CLOSE, file, 0, 0) < 0)
    fail_name("can not write", path);
}
