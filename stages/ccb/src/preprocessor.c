// Preprocessor: directives and macros. The grammar takes its tokens from
// expanded_token, which takes them from raw_token, which takes them from the
// innermost source and obeys directives on the way.

// Macros

struct macro {
  struct name *macro_name;
  long macro_function;          // is written with parentheses
  long macro_count;             // of parameters
  struct name **macro_parameters;
  long macro_variadic;          // the last parameter takes all that is left
  struct token *macro_body;
  long macro_active;            // its expansion is being read: not expanded again
  long macro_special;           // 1 __LINE__, 2 __FILE__
};

enum { PARAMETER_LIMIT = 64 };

// A conditional that is open: which of its groups are taken
struct conditional {
  struct conditional *conditional_outer;
  long conditional_taken;       // one of its groups was taken already
  long conditional_else;        // #else was seen
  long conditional_line;
};

enum {
  D_DEFINE = 1, D_UNDEF, D_INCLUDE, D_IF, D_IFDEF, D_IFNDEF, D_ELIF, D_ELSE, D_ENDIF,
  D_ERROR, D_WARNING, D_LINE, D_PRAGMA
};

char *directives[] = {
  "define", "undef", "include", "if", "ifdef", "ifndef", "elif", "else", "endif",
  "error", "warning", "line", "pragma", 0
};

enum { INCLUDE_LIMIT = 64, DEPTH_LIMIT = 200 };
char *include_directories[INCLUDE_LIMIT];
long include_count;
long include_depth;

struct name *name_defined;
struct name *name_variadic;

struct token *expanded_token(void);

struct token *copy_token(struct token *t)
{
  struct token *c = (struct token *)allocate((long)sizeof(struct token));
  c->token_kind = t->token_kind;
  c->token_name = t->token_name;
  c->token_text = t->token_text;
  c->token_length = t->token_length;
  c->token_space = t->token_space;
  c->token_painted = t->token_painted;
  c->token_file = t->token_file;
  c->token_line = t->token_line;
  return c;
}

// A list of tokens that grows at its end
struct list {
  struct token *list_first;
  struct token *list_last;
};

struct list *new_list(void)
{
  return (struct list *)allocate((long)sizeof(struct list));
}

void append(struct list *list, struct token *t)
{
  t->token_next = 0;
  if (list->list_last)
    list->list_last->token_next = t;
  else
    list->list_first = t;
  list->list_last = t;
}

void append_copies(struct list *list, struct token *t)
{
  while (t) {
    append(list, copy_token(t));
    t = t->token_next;
  }
}

// Sources

struct source *push_source(void)
{
  struct source *s = (struct source *)allocate((long)sizeof(struct source));
  s->source_outer = input;
  input = s;
  return s;
}

void push_list(struct token *first, struct macro *macro, long barrier)
{
  struct source *s = push_source();
  s->source_list = first;
  s->source_macro = macro;
  s->source_barrier = barrier;
  if (macro)
    macro->macro_active = 1;
}

void push_text(char *text, char *file)
{
  struct source *s = push_source();
  s->source_at = text;
  s->source_file = file;
  s->source_line = 1;
  s->source_fresh = 1;
  include_depth = include_depth + 1;
  if (include_depth > DEPTH_LIMIT)
    fail("includes nested too deeply");
}

// check_conditionals: at the end of a file, each of its #if must have its #endif.
void check_conditionals(void)
{
  if (input->source_conditionals) {
    here_line = input->source_conditionals->conditional_line;
    fail("#if without #endif");
  }
}

void pop_source(void)
{
  if (input->source_macro)
    input->source_macro->macro_active = 0;
  if (input->source_at)
    include_depth = include_depth - 1;
  input = input->source_outer;
}

// Files are read once, even when they are included many times.

struct file {
  struct file *file_next;
  char *file_path;
  char *file_text;              // 0: there is no such file
};
struct file *files;

char *text_of_file(char *path)
{
  struct file *f = files;
  while (f) {
    if (same_text(f->file_path, path))
      return f->file_text;
    f = f->file_next;
  }
  f = (struct file *)allocate((long)sizeof(struct file));
  f->file_path = path;
  f->file_text = read_file(path);
  if (f->file_text) {
    if (length_of(f->file_text) != file_length)
      fail_name("a NUL byte in", path);
    join_lines(f->file_text);
  }
  f->file_next = files;
  files = f;
  return f->file_text;
}

// Directives. They read their line straight from the file; the line's end is a
// token, and taking it finishes the directive.

struct token *line_token(void)
{
  return lex(input, 0);
}

void skip_line(struct token *t)
{
  while (t->token_kind != T_NEWLINE && t->token_kind != T_END)
    t = lex(input, 1);
}

void end_of_line(struct token *t)
{
  if (t->token_kind != T_NEWLINE && t->token_kind != T_END)
    fail("something behind the end of a directive");
}

// rest_of_line gives the tokens up to the line's end as a list.
struct list *rest_of_line(void)
{
  struct list *list = new_list();
  struct token *t = line_token();
  while (t->token_kind != T_NEWLINE && t->token_kind != T_END) {
    append(list, t);
    t = line_token();
  }
  return list;
}

// expand_list expands all macros in a list on its own.
struct list *expand_list(struct token *first)
{
  struct list *list = new_list();
  deeper();
  push_list(first, 0, 1);
  struct token *t = expanded_token();
  while (t->token_kind != T_END) {
    append(list, copy_token(t));
    t = expanded_token();
  }
  pop_source();
  shallower();
  return list;
}

struct name *directive_name(struct token *t)
{
  if (t->token_kind != T_NAME)
    fail("a name must stand here");
  if (t->token_name == name_defined)
    fail("'defined' can not be a macro");
  return t->token_name;
}

// parameter_index gives the number of a parameter, or -1.
long parameter_index(struct macro *m, struct token *t)
{
  long i = 0;
  if (t->token_kind != T_NAME)
    return -1;
  while (i < m->macro_count) {
    if (m->macro_parameters[i] == t->token_name)
      return i;
    i = i + 1;
  }
  return -1;
}

// parameters_of reads a macro's parameters, from behind the opening parenthesis.
void parameters_of(struct macro *m)
{
  struct token *t = line_token();
  m->macro_parameters = (struct name **)allocate(PARAMETER_LIMIT * 8);
  if (t->token_kind == P_CLOSE)
    return;
  while (1) {
    if (m->macro_count == PARAMETER_LIMIT)
      fail("too many parameters");
    if (m->macro_variadic)
      fail("a parameter behind '...'");
    if (t->token_kind == P_DOTS) {
      m->macro_variadic = 1;
      m->macro_parameters[m->macro_count] = name_variadic;
    } else {
      m->macro_parameters[m->macro_count] = directive_name(t);
    }
    m->macro_count = m->macro_count + 1;
    t = line_token();
    if (t->token_kind == P_DOTS && !m->macro_variadic) {
      m->macro_variadic = 1;
      t = line_token();
    }
    if (t->token_kind == P_CLOSE)
      return;
    if (t->token_kind != P_COMMA)
      fail("',' or ')' must stand here");
    t = line_token();
  }
}

long same_body(struct token *a, struct token *b)
{
  while (a && b) {
    if (a->token_length != b->token_length || !same_bytes(a->token_text, b->token_text, a->token_length))
      return 0;
    a = a->token_next;
    b = b->token_next;
  }
  return a == b;
}

// same_macro: only what is the same in every word may be defined again.
long same_macro(struct macro *a, struct macro *b)
{
  if (a->macro_special || a->macro_function != b->macro_function || a->macro_count != b->macro_count)
    return 0;
  long i = 0;
  while (i < a->macro_count) {
    if (a->macro_parameters[i] != b->macro_parameters[i])
      return 0;
    i = i + 1;
  }
  return same_body(a->macro_body, b->macro_body);
}

void define_directive(void)
{
  struct macro *m = (struct macro *)allocate((long)sizeof(struct macro));
  m->macro_name = directive_name(line_token());
  if (input->source_at[0] == '(') {
    line_token();
    m->macro_function = 1;
    parameters_of(m);
  }
  m->macro_body = rest_of_line()->list_first;
  struct token *t = m->macro_body;
  if (t && t->token_kind == P_PASTE)
    fail("## at the start of a macro");
  while (t) {
    if (m->macro_function && t->token_kind == P_HASH && (!t->token_next || parameter_index(m, t->token_next) < 0))
      fail("# without a parameter behind it");
    if (t->token_kind == P_PASTE && !t->token_next)
      fail("## at the end of a macro");
    t = t->token_next;
  }
  struct macro *old = m->macro_name->macro;
  if (old && !same_macro(old, m))
    fail_name("a macro is defined again in another way", m->macro_name->name_text);
  m->macro_name->macro = m;
}

// include_path finds the text of an included file; found_path tells where.
char *found_path;

char *find_include(char *name, long beside)
{
  char *text = 0;
  long i = 0;
  found_path = name;
  if (name[0] == '/')
    return text_of_file(name);
  if (beside) {
    char *from = input->source_file;
    long n = length_of(from);
    while (n > 0 && from[n - 1] != '/')
      n = n - 1;
    found_path = join3(text_of(from, n), name, "");
    text = text_of_file(found_path);
  }
  while (!text && i < include_count) {
    found_path = join3(include_directories[i], "/", name);
    text = text_of_file(found_path);
    i = i + 1;
  }
  return text;
}

void include_directive(void)
{
  char *name = 0;
  long beside = 0;
  skip_space(input);
  char *p = input->source_at;
  if (p[0] == '<') {
    long n = 1;
    while (p[n] != '>') {
      if (p[n] == 0 || p[n] == '\n')
        fail("#include <... without an end");
      n = n + 1;
    }
    name = text_of(p + 1, n - 1);
    input->source_at = p + n + 1;
    end_of_line(line_token());
  } else {
    struct token *t = expand_list(rest_of_line()->list_first)->list_first;
    if (!t)
      fail("#include without a name");
    if (t->token_kind == T_STRING && !t->token_next) {
      name = text_of(t->token_text + 1, t->token_length - 2);
      beside = 1;
    } else if (t->token_kind == P_LESS) {
      name = "";
      t = t->token_next;
      while (t && t->token_kind != P_GREATER) {
        name = join3(name, text_of(t->token_text, t->token_length), "");
        t = t->token_next;
      }
      if (!t || t->token_next)
        fail("#include <... without an end");
    } else {
      fail("#include without a name");
    }
  }
  char *text = find_include(name, beside);
  if (!text)
    fail_name("can not find the file to include", name);
  push_text(text, found_path);
}

// Expressions of #if. Every number has 64 bits; if_unsigned tells whether the
// last value has no sign.

struct token *if_token;         // the next one of the list
long if_unsigned;
long if_dead;                   // in a part that does not count: 1/0 is no error

long if_condition(void);

long if_next_is(long kind)
{
  if (!if_token || if_token->token_kind != kind)
    return 0;
  if_token = if_token->token_next;
  return 1;
}

// integer_text reads the digits of an integer constant; number_end is behind them.
long integer_text(char *text)
{
  long base = 10;
  long value = 0;
  if (text[0] == '0' && (text[1] == 'x' || text[1] == 'X')) {
    base = 16;
    text = text + 2;
    if (digit_value(text[0]) > 15)
      fail("0x without a digit");
  } else if (text[0] == '0') {
    base = 8;
  }
  while (digit_value(text[0]) < base) {
    unsigned_divide(value, base);
    if (unsigned_less(unsigned_divide(wrap_subtract(-1, digit_value(text[0])), base), value))
      fail("integer constant too large");
    value = wrap_add(wrap_multiply(value, base), digit_value(text[0]));
    text = text + 1;
  }
  number_end = text;
  return value;
}

long suffix_unsigned;
long suffix_long;

// integer_suffix reads u, l, ll in any order; nothing else may follow.
void integer_suffix(char *text)
{
  suffix_unsigned = 0;
  suffix_long = 0;
  while (text[0]) {
    if ((text[0] == 'u' || text[0] == 'U') && !suffix_unsigned) {
      suffix_unsigned = 1;
    } else if ((text[0] == 'l' || text[0] == 'L') && !suffix_long) {
      suffix_long = 1;
      if (text[1] == text[0])
        text = text + 1;
    } else {
      fail_name("wrong number", text);
    }
    text = text + 1;
  }
}

long if_primary(void)
{
  struct token *t = if_token;
  long value = 0;
  if (!t)
    fail("#if ends too early");
  if_token = t->token_next;
  if_unsigned = 0;
  if (t->token_kind == T_NUMBER) {
    value = integer_text(text_of(t->token_text, t->token_length));
    integer_suffix(number_end);
    if_unsigned = suffix_unsigned || value < 0;
    return value;
  }
  if (t->token_kind == T_CHARACTER)
    return character_constant(t);
  if (t->token_kind == T_NAME)
    return 0;
  if (t->token_kind == P_OPEN) {
    value = if_condition();
    if (!if_next_is(P_CLOSE))
      fail("')' is missing in #if");
    return value;
  }
  if (t->token_kind == P_MINUS || t->token_kind == P_PLUS || t->token_kind == P_TILDE || t->token_kind == P_NOT) {
    deeper();
    value = if_primary();
    shallower();
    if (t->token_kind == P_MINUS)
      return wrap_negate(value);
    if (t->token_kind == P_TILDE)
      return ~value;
    if (t->token_kind == P_PLUS)
      return value;
    if_unsigned = 0;
    return !value;
  }
  fail_name("wrong token in #if", text_of(t->token_text, t->token_length));
  return 0;
}

// binary_level tells how strongly a binary operator binds, 0 if it is none.
long binary_level(long kind)
{
  if (kind == P_STAR || kind == P_SLASH || kind == P_PERCENT)
    return 10;
  if (kind == P_PLUS || kind == P_MINUS)
    return 9;
  if (kind == P_SHIFT_LEFT || kind == P_SHIFT_RIGHT)
    return 8;
  if (kind == P_LESS || kind == P_GREATER || kind == P_LESS_EQUAL || kind == P_GREATER_EQUAL)
    return 7;
  if (kind == P_EQUAL || kind == P_NOT_EQUAL)
    return 6;
  if (kind == P_AND)
    return 5;
  if (kind == P_XOR)
    return 4;
  if (kind == P_OR)
    return 3;
  if (kind == P_AND_AND)
    return 2;
  if (kind == P_OR_OR)
    return 1;
  return 0;
}

// integer_operation calculates with 64 bits, all operators but && and ||; its
// operands have a sign or not. Callers cut the result to its type.
long integer_operation(long kind, long a, long b, long is_unsigned)
{
  if (kind == P_PLUS)
    return wrap_add(a, b);
  if (kind == P_MINUS)
    return wrap_subtract(a, b);
  if (kind == P_STAR)
    return wrap_multiply(a, b);
  if (kind == P_AND)
    return a & b;
  if (kind == P_OR)
    return a | b;
  if (kind == P_XOR)
    return a ^ b;
  if (kind == P_EQUAL)
    return a == b;
  if (kind == P_NOT_EQUAL)
    return a != b;
  if (kind == P_SHIFT_LEFT)
    return shift_left(a, b & 63);
  if (kind == P_SHIFT_RIGHT && is_unsigned)
    return shift_right_unsigned(a, b & 63);
  if (kind == P_SHIFT_RIGHT)
    return a >> (b & 63);
  if (kind == P_SLASH || kind == P_PERCENT) {
    if (b == 0)
      fail("division by zero");
    long quotient = 0;
    if (is_unsigned)
      quotient = unsigned_divide(a, b);
    else
      quotient = signed_divide(a, b);
    if (kind == P_SLASH)
      return quotient;
    return remainder_of_division;
  }
  long less = a < b;
  if (is_unsigned)
    less = unsigned_less(a, b);
  if (kind == P_LESS)
    return less;
  if (kind == P_GREATER_EQUAL)
    return !less;
  if (kind == P_GREATER)
    return !less && a != b;
  return less || a == b;
}

long if_binary(long level)
{
  long left = if_primary();
  while (if_token && binary_level(if_token->token_kind) >= level) {
    long kind = if_token->token_kind;
    long own = binary_level(kind);
    if (own == 0)
      break;
    long left_unsigned = if_unsigned;
    if_token = if_token->token_next;
    long decided = (kind == P_AND_AND && !left) || (kind == P_OR_OR && left);
    if_dead = if_dead + decided;
    long right = if_binary(own + 1);
    if_dead = if_dead - decided;
    if (kind == P_AND_AND) {
      left = left && right;
      if_unsigned = 0;
    } else if (kind == P_OR_OR) {
      left = left || right;
      if_unsigned = 0;
    } else {
      if (kind == P_SHIFT_LEFT || kind == P_SHIFT_RIGHT)
        if_unsigned = left_unsigned;
      else
        if_unsigned = if_unsigned || left_unsigned;
      if ((kind == P_SLASH || kind == P_PERCENT) && if_dead && right == 0)
        right = 1;
      left = integer_operation(kind, left, right, if_unsigned);
      if (own == 6 || own == 7)
        if_unsigned = 0;
    }
  }
  return left;
}

long if_conditional(void)
{
  long condition = if_binary(1);
  if (!if_next_is(P_QUESTION))
    return condition;
  if_dead = if_dead + !condition;
  long yes = if_condition();
  if_dead = if_dead - !condition;
  long yes_unsigned = if_unsigned;
  if (!if_next_is(P_COLON))
    fail("':' is missing in #if");
  if_dead = if_dead + (condition != 0);
  long no = if_condition();
  if_dead = if_dead - (condition != 0);
  if_unsigned = if_unsigned || yes_unsigned;
  if (condition)
    return yes;
  return no;
}

long if_condition(void)
{
  deeper();
  long value = if_conditional();
  shallower();
  return value;
}

// if_line evaluates the rest of an #if or #elif line: first each `defined X`
// becomes a number, then macros are expanded, then names count as 0.
long if_line(void)
{
  struct list *line = new_list();
  struct token *t = rest_of_line()->list_first;
  while (t) {
    struct token *next = t->token_next;
    if (t->token_kind == T_NAME && t->token_name == name_defined) {
      long parenthesis = next && next->token_kind == P_OPEN;
      if (parenthesis)
        next = next->token_next;
      if (!next || next->token_kind != T_NAME)
        fail("'defined' without a name");
      char *digit = "0";
      if (next->token_name->macro)
        digit = "1";
      next = next->token_next;
      if (parenthesis) {
        if (!next || next->token_kind != P_CLOSE)
          fail("')' is missing behind 'defined'");
        next = next->token_next;
      }
      t = new_token(T_NUMBER, digit, 1);
    }
    append(line, t);
    t = next;
  }
  if_token = expand_list(line->list_first)->list_first;
  long value = if_condition();
  if (if_token)
    fail("something behind the end of #if");
  return value != 0;
}

// directive_kind looks at a token behind # and gives its number, or 0.
long directive_kind(struct token *t)
{
  if (t->token_kind != T_NAME)
    return 0;
  return t->token_name->directive;
}

// skip_group skips the lines of a group that is not taken, up to an #elif, #else
// or #endif of its own, the name of which it gives.
struct token *skip_group(void)
{
  long depth = 0;
  while (1) {
    struct token *t = lex(input, 1);
    if (t->token_kind == T_END)
      check_conditionals();
    if (t->token_kind == P_HASH) {
      t = lex(input, 1);
      long kind = directive_kind(t);
      if (kind == D_IF || kind == D_IFDEF || kind == D_IFNDEF) {
        depth = depth + 1;
      } else if (kind == D_ENDIF || kind == D_ELIF || kind == D_ELSE) {
        if (depth == 0)
          return t;
        if (kind == D_ENDIF)
          depth = depth - 1;
      }
    }
    skip_line(t);
  }
}

// choose_group: the condition of a group is known. If it is not to be taken, all
// is skipped up to the group that is, or the end.
void choose_group(long taken)
{
  struct conditional *c = input->source_conditionals;
  while (1) {
    if (taken) {
      c->conditional_taken = 1;
      return;
    }
    struct token *t = skip_group();
    long kind = directive_kind(t);
    if (kind == D_ENDIF) {
      end_of_line(line_token());
      input->source_conditionals = c->conditional_outer;
      return;
    }
    if (c->conditional_else)
      fail("#else or #elif behind #else");
    if (kind == D_ELSE) {
      end_of_line(line_token());
      c->conditional_else = 1;
      taken = !c->conditional_taken;
    } else if (c->conditional_taken) {
      skip_line(t);
    } else {
      taken = if_line();
    }
  }
}

void open_conditional(void)
{
  struct conditional *c = (struct conditional *)allocate((long)sizeof(struct conditional));
  c->conditional_outer = input->source_conditionals;
  c->conditional_line = here_line;
  input->source_conditionals = c;
}

// message_directive ends the run with the text of an #error line.
void message_directive(void)
{
  char *p = input->source_at;
  long n = 0;
  while (p[n] && p[n] != '\n')
    n = n + 1;
  fail_name("#error", text_of(p, n));
}

// pragma_directive: what is not known changes nothing, as C says; but what other
// compilers obey, and what would change the program, is an error.
void pragma_directive(void)
{
  struct token *t = lex(input, 1);
  char *text = text_of(t->token_text, t->token_length);
  if (same_text(text, "pack") || same_text(text, "once"))
    fail_name("this #pragma is not accepted", text);
  if (same_text(text, "push_macro") || same_text(text, "pop_macro"))
    fail_name("this #pragma is not accepted", text);
  skip_line(t);
}

// obey carries out the directive behind a # at the start of a line.
void obey(void)
{
  struct token *t = lex(input, 1);
  long kind = directive_kind(t);
  long taken = 0;
  if (t->token_kind == T_NEWLINE || t->token_kind == T_END)
    return;
  if (kind == D_DEFINE) {
    define_directive();
  } else if (kind == D_UNDEF) {
    t = line_token();
    directive_name(t)->macro = 0;
    end_of_line(line_token());
  } else if (kind == D_INCLUDE) {
    include_directive();
  } else if (kind == D_IF) {
    open_conditional();
    choose_group(if_line());
  } else if (kind == D_IFDEF || kind == D_IFNDEF) {
    open_conditional();
    taken = directive_name(line_token())->macro != 0;
    end_of_line(line_token());
    choose_group(taken == (kind == D_IFDEF));
  } else if (kind == D_ELIF || kind == D_ELSE) {
    // The group before was taken, so all others are skipped.
    if (!input->source_conditionals)
      fail("#else or #elif without #if");
    if (input->source_conditionals->conditional_else)
      fail("#else or #elif behind #else");
    if (kind == D_ELSE)
      input->source_conditionals->conditional_else = 1;
    skip_line(t);
    choose_group(0);
  } else if (kind == D_ENDIF) {
    if (!input->source_conditionals)
      fail("#endif without #if");
    input->source_conditionals = input->source_conditionals->conditional_outer;
    end_of_line(line_token());
  } else if (kind == D_ERROR) {
    message_directive();
  } else if (kind == D_PRAGMA) {
    pragma_directive();
  } else if (kind == D_WARNING || kind == D_LINE) {
    skip_line(t);
  } else {
    fail_name("unknown directive", text_of(t->token_text, t->token_length));
  }
}

// raw_token gives the next token before macros are expanded. T_END is the end of
// the unit, or of a list with a barrier.
struct token *raw_token(void)
{
  long space = 0;
  while (1) {
    struct source *s = input;
    if (!s->source_at) {
      struct token *t = s->source_list;
      if (t) {
        s->source_list = t->token_next;
        return t;
      }
      if (s->source_barrier)
        return new_token(T_END, "", 0);
      pop_source();
    } else {
      struct token *l = lex(s, 0);
      if (l->token_kind == T_NEWLINE) {
        s->source_fresh = 1;
        space = 1;
      } else if (l->token_kind == T_END) {
        check_conditionals();
        if (!s->source_outer)
          return l;
        pop_source();
        space = 1;
      } else if (l->token_kind == P_HASH && s->source_fresh) {
        obey();
        space = 1;
      } else {
        s->source_fresh = 0;
        l->token_space = l->token_space | space;
        return l;
      }
    }
  }
}

// Expansion

// parenthesis_follows tells whether the next token is an opening parenthesis,
// without taking it; ends of lines may stand before it.
long parenthesis_follows(void)
{
  while (!input->source_at) {
    if (input->source_list)
      return input->source_list->token_kind == P_OPEN;
    if (input->source_barrier)
      return 0;
    pop_source();
  }
  skip_space(input);
  while (input->source_at[0] == '\n') {
    input->source_line = input->source_line + 1;
    input->source_at = input->source_at + 1;
    input->source_fresh = 1;
    skip_space(input);
  }
  return input->source_at[0] == '(';
}

// arguments_of reads the arguments of a macro as they are written.
struct list **arguments_of(struct macro *m)
{
  struct list **arguments = (struct list **)allocate((m->macro_count + 1) * 8);
  long count = 0;
  long depth = 0;
  char *file = here_file;
  long line = here_line;
  raw_token();
  arguments[0] = new_list();
  while (1) {
    struct token *t = raw_token();
    if (t->token_kind == T_END) {
      here_file = file;
      here_line = line;
      fail_name("the arguments of a macro have no end", m->macro_name->name_text);
    }
    if (t->token_kind == P_CLOSE && depth == 0)
      break;
    if (t->token_kind == P_OPEN)
      depth = depth + 1;
    if (t->token_kind == P_CLOSE)
      depth = depth - 1;
    if (t->token_kind == P_COMMA && depth == 0 && !(m->macro_variadic && count == m->macro_count - 1)) {
      count = count + 1;
      if (count >= m->macro_count)
        fail_name("too many arguments for a macro", m->macro_name->name_text);
      arguments[count] = new_list();
    } else {
      append(arguments[count], copy_token(t));
    }
  }
  count = count + 1;
  if (m->macro_count == 0 && !arguments[0]->list_first)
    count = 0;
  if (m->macro_variadic && count == m->macro_count - 1) {
    arguments[count] = new_list();
    count = count + 1;
  }
  if (count != m->macro_count)
    fail_name("wrong number of arguments for a macro", m->macro_name->name_text);
  return arguments;
}

// string_of makes a string of an argument's spelling.
struct token *string_of(struct token *t)
{
  long size = 3;
  struct token *u = t;
  while (u) {
    size = size + u->token_length * 2 + 1;
    u = u->token_next;
  }
  char *text = allocate(size);
  long n = 1;
  long i = 0;
  text[0] = '"';
  for (u = t; u; u = u->token_next) {
    if (u->token_space && u != t) {
      text[n] = ' ';
      n = n + 1;
    }
    long quoted = u->token_kind == T_STRING || u->token_kind == T_CHARACTER;
    for (i = 0; i < u->token_length; i = i + 1) {
      char c = u->token_text[i];
      if (quoted && (c == '"' || c == '\\')) {
        text[n] = '\\';
        n = n + 1;
      }
      text[n] = c;
      n = n + 1;
    }
  }
  text[n] = '"';
  return new_token(T_STRING, text, n + 1);
}

// paste glues two tokens to one.
struct token *paste(struct token *a, struct token *b)
{
  char *text = join3(text_of(a->token_text, a->token_length), text_of(b->token_text, b->token_length), "");
  struct source *s = (struct source *)allocate((long)sizeof(struct source));
  s->source_at = text;
  s->source_file = here_file;
  s->source_line = here_line;
  struct token *t = lex(s, 0);
  if (s->source_at[0])
    fail_name("## does not make one token", text);
  t->token_space = a->token_space;
  return t;
}

// substitute gives a macro's body with the arguments in their places. What
// stands beside ## is taken as written, other arguments are expanded before.
struct list *substitute(struct macro *m, struct list **arguments)
{
  struct list *out = new_list();
  struct list **expanded = (struct list **)allocate((m->macro_count + 1) * 8);
  struct token *t = m->macro_body;
  struct token *before = 0;     // the last token before the last operand
  long pasting = 0;
  while (t) {
    struct token *next = t->token_next;
    struct list *piece = new_list();
    long index = -1;
    if (m->macro_function)
      index = parameter_index(m, t);
    long pasted_next = next && next->token_kind == P_PASTE;
    if (m->macro_function && t->token_kind == P_HASH) {
      struct token *s = string_of(arguments[parameter_index(m, next)]->list_first);
      s->token_space = t->token_space;
      append(piece, s);
      next = next->token_next;
      pasted_next = next && next->token_kind == P_PASTE;
    } else if (index >= 0 && (pasting || pasted_next)) {
      append_copies(piece, arguments[index]->list_first);
    } else if (index >= 0) {
      if (!expanded[index]) {
        struct list *copy = new_list();
        append_copies(copy, arguments[index]->list_first);
        expanded[index] = expand_list(copy->list_first);
      }
      append_copies(piece, expanded[index]->list_first);
    } else {
      append(piece, copy_token(t));
    }
    struct token *first = piece->list_first;
    if (first && index >= 0)
      first->token_space = t->token_space;
    if (pasting) {
      long variadic = m->macro_variadic && index == m->macro_count - 1;
      struct token *left = out->list_last;
      if (variadic && left && left != before && left->token_kind == P_COMMA) {
        // `, ## __VA_ARGS__`: without arguments the comma goes too.
        if (!first) {
          struct list *shorter = new_list();
          struct token *u = out->list_first;
          while (u != left) {
            struct token *after = u->token_next;
            append(shorter, u);
            u = after;
          }
          out = shorter;
        }
      } else if (first && left && left != before) {
        struct token *glued = paste(left, first);
        left->token_kind = glued->token_kind;
        left->token_name = glued->token_name;
        left->token_text = glued->token_text;
        left->token_length = glued->token_length;
        left->token_painted = 0;
        first = first->token_next;
      }
    } else {
      before = out->list_last;
    }
    while (first) {
      struct token *following = first->token_next;
      append(out, first);
      first = following;
    }
    pasting = 0;
    if (pasted_next) {
      pasting = 1;
      next = next->token_next;
    }
    t = next;
  }
  return out;
}

// special_token is what __LINE__ or __FILE__ stands for at a token. What comes
// out of a macro has the place where its name stands.
struct token *special_token(struct macro *m, struct token *t)
{
  if (m->macro_special == 1) {
    char *digits = allocate(24);
    long at = 23;
    long value = t->token_line;
    while (value > 0) {
      at = at - 1;
      digits[at] = (char)('0' + value % 10);
      value = value / 10;
    }
    return new_token(T_NUMBER, digits + at, 23 - at);
  }
  return string_of(new_token(T_OTHER, t->token_file, length_of(t->token_file)));
}

// expanded_token gives the next token behind all macros.
struct token *expanded_token(void)
{
  while (1) {
    struct token *t = raw_token();
    if (t->token_kind != T_NAME || t->token_painted || !t->token_name->macro)
      return t;
    struct macro *m = t->token_name->macro;
    if (m->macro_active) {
      t->token_painted = 1;
      return t;
    }
    if (m->macro_special) {
      struct token *special = special_token(m, t);
      special->token_space = t->token_space;
      return special;
    }
    if (m->macro_function && !parenthesis_follows())
      return t;
    here_file = t->token_file;
    here_line = t->token_line;
    struct list **arguments = 0;
    if (m->macro_function)
      arguments = arguments_of(m);
    struct list *body = substitute(m, arguments);
    struct token *u = body->list_first;
    if (u)
      u->token_space = t->token_space;
    // What comes out of a macro stands where its name stood.
    while (u) {
      u->token_file = t->token_file;
      u->token_line = t->token_line;
      u = u->token_next;
    }
    push_list(body->list_first, m, 0);
  }
}

// forget_macros is needed between units; special macros stay.
void forget_macros(void)
{
  long i = 0;
  while (i < NAME_BUCKETS) {
    struct name *name = name_buckets[i];
    while (name) {
      if (name->macro && !name->macro->macro_special)
        name->macro = 0;
      name = name->name_next;
    }
    i = i + 1;
  }
}

void special_macro(char *text, long special)
{
  struct macro *m = (struct macro *)allocate((long)sizeof(struct macro));
  m->macro_name = name_of_text(text);
  m->macro_special = special;
  m->macro_name->macro = m;
}

void preprocessor_start(void)
{
  long i = 0;
  name_defined = name_of_text("defined");
  name_variadic = name_of_text("__VA_ARGS__");
  for (i = 0; directives[i]; i = i + 1)
    name_of_text(directives[i])->directive = D_DEFINE + i;
  special_macro("__LINE__", 1);
  special_macro("__FILE__", 2);
}

// unit_source starts to read a unit: the file, and before it the definitions.
void unit_source(char *path, char *definitions)
{
  here_file = 0;
  input = 0;
  include_depth = 0;
  char *text = text_of_file(path);
  if (!text)
    fail_name("there is no file", path);
  push_text(text, path);
  push_text(definitions, "(command line)");
}

// The grammar's view: the current token and its kind, keywords told apart.

struct token *tok;
long kind;
struct token *following;        // one token read ahead, or 0

long kind_of(struct token *t)
{
  if (t->token_kind == T_NAME && t->token_name->keyword)
    return t->token_name->keyword;
  return t->token_kind;
}

void advance(void)
{
  if (following) {
    tok = following;
    following = 0;
  } else {
    tok = expanded_token();
  }
  kind = kind_of(tok);
  here_file = tok->token_file;
  here_line = tok->token_line;
}

// peek gives the token behind the current one.
struct token *peek(void)
{
  if (!following) {
    following = expanded_token();
    here_file = tok->token_file;
    here_line = tok->token_line;
  }
  return following;
}

// take goes on if the current token is of this kind.
long take(long wanted)
{
  if (kind != wanted)
    return 0;
  advance();
  return 1;
}

// spelling gives the current token as a text for messages.
char *spelling(void)
{
  if (kind == T_END)
    return "end of file";
  return text_of(tok->token_text, tok->token_length);
}

void expect(long wanted)
{
  if (!take(wanted)) {
    if (wanted >= P_DOTS && wanted < P_BEHIND)
      fail_name(join3("'", punctuators[wanted - P_DOTS], "' must stand before"), spelling());
    fail_name("unexpected", spelling());
  }
}
