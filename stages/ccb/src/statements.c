// Statements and the bodies of functions.

void statement(void);

struct type *result_type;       // of the function that is being compiled
struct label *return_label;
struct label *break_label;      // where break leads, or 0
struct label *continue_label;
struct label *function_labels;

// The cases of a switch, in the order of the source
struct case_value {
  struct case_value *case_next;
  long case_constant;
  struct label *case_label;
};

struct switch_state {
  struct switch_state *switch_outer;
  struct type *switch_type;
  struct case_value *switch_cases;
  struct case_value *switch_last;
  struct label *switch_default;
};

struct switch_state *switches;

// full_expression reads and carries out an expression. Room for what it needed
// in between is free again behind it.
void full_expression(void)
{
  long used = frame_used;
  discard(expression());
  frame_used = used;
}

// test reads a condition and jumps if its truth is `sense`.
void test(long sense, struct label *target)
{
  long used = frame_used;
  branch(scalar_of(expression()), sense, target);
  frame_used = used;
}

void block(void)
{
  long used = frame_used;
  enter_scope();
  while (!take(P_CLOSE_BLOCK)) {
    if (kind == T_END)
      fail("a block without an end");
    if (begins_declaration() && !(kind == T_NAME && kind_of(peek()) == P_COLON))
      declaration();
    else
      statement();
  }
  leave_scope();
  frame_used = used;
}

void if_statement(void)
{
  struct label *otherwise = new_label();
  struct label *done = new_label();
  expect(P_OPEN);
  test(0, otherwise);
  expect(P_CLOSE);
  statement();
  if (take(K_ELSE)) {
    jump_to(done);
    set_label(otherwise);
    statement();
    set_label(done);
  } else {
    set_label(otherwise);
  }
}

void while_statement(void)
{
  struct label *old_break = break_label;
  struct label *old_continue = continue_label;
  break_label = new_label();
  continue_label = new_label();
  set_label(continue_label);
  expect(P_OPEN);
  test(0, break_label);
  expect(P_CLOSE);
  statement();
  jump_to(continue_label);
  set_label(break_label);
  break_label = old_break;
  continue_label = old_continue;
}

void do_statement(void)
{
  struct label *old_break = break_label;
  struct label *old_continue = continue_label;
  struct label *again = new_label();
  break_label = new_label();
  continue_label = new_label();
  set_label(again);
  statement();
  if (!take(K_WHILE))
    fail_name("'while' must stand before", spelling());
  set_label(continue_label);
  expect(P_OPEN);
  test(1, again);
  expect(P_CLOSE);
  expect(P_SEMICOLON);
  set_label(break_label);
  break_label = old_break;
  continue_label = old_continue;
}

// for: its third expression is read before the body and carried out behind it,
// so it is kept as a tree.
void for_statement(void)
{
  struct label *old_break = break_label;
  struct label *old_continue = continue_label;
  struct label *again = new_label();
  struct node *step = 0;
  long used = frame_used;
  break_label = new_label();
  continue_label = new_label();
  enter_scope();
  expect(P_OPEN);
  if (begins_declaration()) {
    declaration();
  } else {
    if (kind != P_SEMICOLON)
      full_expression();
    expect(P_SEMICOLON);
  }
  set_label(again);
  if (kind != P_SEMICOLON)
    test(0, break_label);
  expect(P_SEMICOLON);
  if (kind != P_CLOSE)
    step = expression();
  expect(P_CLOSE);
  statement();
  set_label(continue_label);
  if (step)
    discard(step);
  jump_to(again);
  set_label(break_label);
  leave_scope();
  frame_used = used;
  break_label = old_break;
  continue_label = old_continue;
}

// switch: the body comes first, then the comparisons that lead into it.
void switch_statement(void)
{
  struct label *old_break = break_label;
  struct label *choose = new_label();
  struct switch_state *s = (struct switch_state *)allocate((long)sizeof(struct switch_state));
  long used = frame_used;
  expect(P_OPEN);
  struct node *value = promote(scalar_of(expression()));
  expect(P_CLOSE);
  if (!is_integer(value->node_type))
    fail("switch needs an integer");
  generate(value);
  s->switch_type = value->node_type;
  s->switch_outer = switches;
  switches = s;
  break_label = new_label();
  jump_to(choose);
  statement();
  jump_to(break_label);
  set_label(choose);
  struct case_value *c = s->switch_cases;
  while (c) {
    if (fits32(c->case_constant)) {
      emit("48 3D");            // cmp rax, imm32
      bytes4(c->case_constant);
    } else {
      load_number(RCX, c->case_constant);
      emit("48 39 C8");         // cmp rax, rcx
    }
    jump_if(IF_EQUAL, c->case_label);
    c = c->case_next;
  }
  if (s->switch_default)
    jump_to(s->switch_default);
  set_label(break_label);
  switches = s->switch_outer;
  break_label = old_break;
  frame_used = used;
}

void case_statement(void)
{
  if (!switches)
    fail("case without switch");
  struct case_value *c = (struct case_value *)allocate((long)sizeof(struct case_value));
  c->case_constant = cut(constant_expression(), switches->switch_type);
  c->case_label = new_label();
  set_label(c->case_label);
  struct case_value *other = switches->switch_cases;
  while (other) {
    if (other->case_constant == c->case_constant)
      fail("case given twice");
    other = other->case_next;
  }
  if (switches->switch_last)
    switches->switch_last->case_next = c;
  else
    switches->switch_cases = c;
  switches->switch_last = c;
  expect(P_COLON);
  statement();
}

void default_statement(void)
{
  if (!switches)
    fail("default without switch");
  if (switches->switch_default)
    fail("default given twice");
  switches->switch_default = new_label();
  set_label(switches->switch_default);
  expect(P_COLON);
  statement();
}

// named_label finds a label of the source within the function.
struct label *named_label(struct name *name)
{
  if (!name->label) {
    name->label = new_label();
    name->label->label_name = name;
    name->label->label_line = here_line;
    name->label->label_next = function_labels;
    function_labels = name->label;
  }
  return name->label;
}

void goto_statement(void)
{
  if (kind != T_NAME)
    fail_name("a label must stand before", spelling());
  jump_to(named_label(tok->token_name));
  advance();
  expect(P_SEMICOLON);
}

void label_statement(void)
{
  struct label *l = named_label(tok->token_name);
  if (l->label_at >= 0)
    fail_name("label set twice", tok->token_name->name_text);
  advance();
  advance();
  attributes();
  set_label(l);
  if (kind != P_CLOSE_BLOCK)
    statement();
}

void return_statement(void)
{
  long used = frame_used;
  if (kind == P_SEMICOLON) {
    // As old C allows, the value is then what nobody may use.
  } else if (result_type->type_kind == VOID) {
    struct node *n = expression();
    if (n->node_type->type_kind != VOID)
      fail("a value is returned where there is none");
    discard(n);
  } else {
    generate(assignable(expression(), result_type));
    if (by_address(result_type)) {
      emit("48 8B 7D 10");      // mov rdi, [rbp + 16]
      copy_struct(copy_size(result_type));
    }
  }
  expect(P_SEMICOLON);
  jump_to(return_label);
  frame_used = used;
}

void leave_loop(struct label *target)
{
  if (!target)
    fail("break or continue outside of a loop");
  jump_to(target);
  expect(P_SEMICOLON);
}

void statement_inside(void)
{
  if (take(P_OPEN_BLOCK)) {
    block();
  } else if (take(P_SEMICOLON)) {
    return;
  } else if (take(K_IF)) {
    if_statement();
  } else if (take(K_WHILE)) {
    while_statement();
  } else if (take(K_DO)) {
    do_statement();
  } else if (take(K_FOR)) {
    for_statement();
  } else if (take(K_SWITCH)) {
    switch_statement();
  } else if (take(K_CASE)) {
    case_statement();
  } else if (take(K_DEFAULT)) {
    default_statement();
  } else if (take(K_GOTO)) {
    goto_statement();
  } else if (take(K_BREAK)) {
    leave_loop(break_label);
  } else if (take(K_CONTINUE)) {
    leave_loop(continue_label);
  } else if (take(K_RETURN)) {
    return_statement();
  } else if (kind == T_NAME && kind_of(peek()) == P_COLON) {
    label_statement();
  } else {
    full_expression();
    expect(P_SEMICOLON);
  }
}

void statement(void)
{
  deeper();
  statement_inside();
  shallower();
}

// declare_parameters gives each parameter its place above the frame.
void declare_parameters(struct type *type)
{
  struct parameter *p = type->type_parameters;
  long at = 16;
  if (by_address(type->type_base))
    at = 24;
  while (p) {
    if (!p->parameter_type->type_complete)
      fail("a parameter without a size");
    if (!p->parameter_name)
      fail("a parameter without a name");
    declare(p->parameter_name, S_LOCAL, p->parameter_type)->symbol_value = at;
    at = at + slots_of(p->parameter_type) * 8;
    p = p->parameter_next;
  }
}

// trace calls __trace with the name of the function that starts, unless that is
// __trace itself. Arguments and variables are in memory, so it disturbs nothing.
long tracing;

void trace(void)
{
  if (!tracing || same_text(function_name, "__trace"))
    return;
  struct object *name = string_object(function_name, length_of(function_name) + 1);
  emit("68");                   // push address
  refer(R_CODE_ADDRESS, code_size, name, 0);
  bytes4(0);
  struct type *type = function_giving(type_void);
  type->type_open = 1;
  emit("E8");                   // call
  refer(R_CODE_DISTANCE, code_size, external_object(name_of_text("__trace"), type), 0);
  bytes4(0);
  emit("58");                   // pop rax
}

// function_body compiles a function. The room for its variables is known at its
// end, and put into the instruction at its start then.
void function_body(struct symbol *s)
{
  struct type *type = s->symbol_type;
  result_type = type->type_base;
  if (result_type->type_kind != VOID && !result_type->type_complete)
    fail("a function that gives a struct without a size");
  define_object(s->symbol_object, IN_CODE, code_size);
  function_name = s->symbol_name->name_text;
  frame_used = 0;
  frame_most = 0;
  function_labels = 0;
  return_label = new_label();
  emit("55");                   // push rbp
  emit("48 89 E5");             // mov rbp, rsp
  emit("48 81 EC");             // sub rsp, ...
  long frame_at = code_size;
  bytes4(0);
  trace();
  enter_scope();
  declare_parameters(type);
  expect(P_OPEN_BLOCK);
  // Locals may hide parameters: block makes a scope of its own.
  block();
  leave_scope();
  if (same_text(function_name, "main"))
    emit("31 C0");              // xor eax, eax: what main gives at its end
  set_label(return_label);
  emit("C9");                   // leave
  emit("C3");                   // ret
  put_number(&code[frame_at], align_up(frame_most, 16), 4);
  struct label *l = function_labels;
  while (l) {
    if (l->label_at < 0) {
      here_line = l->label_line;
      fail_name("label that is not set", l->label_name->name_text);
    }
    l->label_name->label = 0;
    l = l->label_next;
  }
  function_name = 0;
}

// unit compiles one file.
void unit(char *path, char *definitions)
{
  unit_source(path, definitions);
  scope = 0;
  enter_scope();
  advance();
  while (kind != T_END)
    declaration();
  leave_scope();
  forget_macros();
}
