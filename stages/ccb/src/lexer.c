// Lexer: from the characters of a file to tokens.
//
// A token keeps its spelling, since macros may glue it to another one or make a
// string of it; numbers, characters and strings get a value only when the
// grammar takes them.

enum {
  T_END, T_NAME, T_NUMBER, T_CHARACTER, T_STRING, T_OTHER, T_NEWLINE,
  // Punctuators, in the order of their spellings below: longer ones first
  P_DOTS, P_SHIFT_LEFT_SET, P_SHIFT_RIGHT_SET,
  P_ARROW, P_INCREMENT, P_DECREMENT, P_SHIFT_LEFT, P_SHIFT_RIGHT, P_LESS_EQUAL, P_GREATER_EQUAL,
  P_EQUAL, P_NOT_EQUAL, P_AND_AND, P_OR_OR, P_MULTIPLY_SET, P_DIVIDE_SET, P_MODULO_SET,
  P_ADD_SET, P_SUBTRACT_SET, P_AND_SET, P_XOR_SET, P_OR_SET, P_PASTE,
  P_OPEN_INDEX, P_CLOSE_INDEX, P_OPEN, P_CLOSE, P_OPEN_BLOCK, P_CLOSE_BLOCK, P_DOT, P_AND, P_STAR,
  P_PLUS, P_MINUS, P_TILDE, P_NOT, P_SLASH, P_PERCENT, P_LESS, P_GREATER, P_XOR, P_OR,
  P_QUESTION, P_COLON, P_SEMICOLON, P_SET, P_COMMA, P_HASH,
  P_BEHIND,
  // Keywords, in the order of their texts below
  K_AUTO, K_BREAK, K_CASE, K_CHAR, K_CONST, K_CONTINUE, K_DEFAULT, K_DO, K_DOUBLE, K_ELSE, K_ENUM,
  K_EXTERN, K_FLOAT, K_FOR, K_GOTO, K_IF, K_INT, K_LONG, K_REGISTER, K_RETURN, K_SHORT, K_SIGNED,
  K_SIZEOF, K_STATIC, K_STRUCT, K_SWITCH, K_TYPEDEF, K_UNION, K_UNSIGNED, K_VOID, K_VOLATILE,
  K_WHILE, K_INLINE, K_RESTRICT,
  K_CONST_GNU, K_INLINE_GNU, K_INLINE_GNU2, K_RESTRICT_GNU, K_RESTRICT_GNU2, K_SIGNED_GNU,
  K_VOLATILE_GNU, K_VOLATILE_GNU2, K_ATTRIBUTE, K_ATTRIBUTE_GNU, K_EXTENSION,
  K_BEHIND
};

char *punctuators[] = {
  "...", "<<=", ">>=",
  "->", "++", "--", "<<", ">>", "<=", ">=",
  "==", "!=", "&&", "||", "*=", "/=", "%=",
  "+=", "-=", "&=", "^=", "|=", "##",
  "[", "]", "(", ")", "{", "}", ".", "&", "*",
  "+", "-", "~", "!", "/", "%", "<", ">", "^", "|",
  "?", ":", ";", "=", ",", "#",
  0
};

char *keywords[] = {
  "auto", "break", "case", "char", "const", "continue", "default", "do", "double", "else", "enum",
  "extern", "float", "for", "goto", "if", "int", "long", "register", "return", "short", "signed",
  "sizeof", "static", "struct", "switch", "typedef", "union", "unsigned", "void", "volatile",
  "while", "inline", "restrict",
  "__const", "__inline", "__inline__", "__restrict", "__restrict__", "__signed__",
  "__volatile", "__volatile__", "__attribute__", "__attribute", "__extension__",
  0
};

struct token {
  struct token *token_next;     // in a list
  long token_kind;
  struct name *token_name;      // of T_NAME
  char *token_text;             // spelling, not ended by a NUL
  long token_length;
  long token_space;             // white space stands before it
  long token_painted;           // a name that must not be expanded any more
  char *token_file;
  long token_line;
};

struct conditional;

// Where tokens come from: a file's text, or a list that a macro became. They
// stand on one another; the innermost is `input`.
struct source {
  struct source *source_outer;
  char *source_at;              // next character; 0 for a list
  char *source_file;
  long source_line;
  long source_fresh;            // at the start of a line
  struct token *source_list;    // next token of a list
  struct macro *source_macro;   // the macro that the list comes from, or 0
  long source_barrier;          // reading must not go on to what is outside
  struct conditional *source_conditionals;
};

struct source *input;

enum { C_SPACE = 1, C_LETTER = 2, C_DIGIT = 4 };
char classes[256];              // of characters
long punctuator_first[256];     // 1 + first entry that starts with a character

void lexer_start(void)
{
  long i = 0;
  classes[' '] = C_SPACE;
  classes['\t'] = C_SPACE;
  classes['\r'] = C_SPACE;
  classes[11] = C_SPACE;
  classes[12] = C_SPACE;
  for (i = 'a'; i <= 'z'; i = i + 1)
    classes[i] = C_LETTER;
  for (i = 'A'; i <= 'Z'; i = i + 1)
    classes[i] = C_LETTER;
  classes['_'] = C_LETTER;
  for (i = '0'; i <= '9'; i = i + 1)
    classes[i] = C_DIGIT;
  for (i = P_BEHIND - P_DOTS - 1; i >= 0; i = i - 1)
    punctuator_first[(long)punctuators[i][0]] = i + 1;
  for (i = 0; keywords[i]; i = i + 1)
    name_of_text(keywords[i])->keyword = K_AUTO + i;
}

long class_of(char c)
{
  return classes[c & 255];
}

// join_lines takes out each backslash at the end of a line, with the line's end.
// To keep the lines' numbers right, the taken ends follow at the next true one.
void join_lines(char *text)
{
  char *from = text;
  char *to = text;
  long owed = 0;
  while (from[0]) {
    if (from[0] == '\\' && from[1] == '\n') {
      owed = owed + 1;
      from = from + 2;
    } else if (from[0] == '\\' && from[1] == '\r' && from[2] == '\n') {
      owed = owed + 1;
      from = from + 3;
    } else {
      if (from[0] == '\n') {
        while (owed > 0) {
          to[0] = '\n';
          to = to + 1;
          owed = owed - 1;
        }
      }
      to[0] = from[0];
      to = to + 1;
      from = from + 1;
    }
  }
  to[0] = 0;
}

void at_source(struct source *s)
{
  here_file = s->source_file;
  here_line = s->source_line;
}

// skip_space skips white space and comments, but no end of line outside of a
// comment; it tells whether there was any.
long skip_space(struct source *s)
{
  char *p = s->source_at;
  long any = 0;
  while (1) {
    if (class_of(p[0]) == C_SPACE) {
      p = p + 1;
    } else if (p[0] == '/' && p[1] == '/') {
      while (p[0] && p[0] != '\n')
        p = p + 1;
    } else if (p[0] == '/' && p[1] == '*') {
      at_source(s);
      p = p + 2;
      while (p[0] != '*' || p[1] != '/') {
        if (p[0] == 0)
          fail("comment without an end");
        if (p[0] == '\n')
          s->source_line = s->source_line + 1;
        p = p + 1;
      }
      p = p + 2;
    } else {
      break;
    }
    any = 1;
  }
  s->source_at = p;
  return any;
}

// punctuator_at tells the kind of the longest punctuator at p, or T_OTHER.
long punctuator_at(char *p)
{
  long i = punctuator_first[p[0] & 255];
  if (i == 0)
    return T_OTHER;
  i = i - 1;
  while (punctuators[i]) {
    char *spelling = punctuators[i];
    if (spelling[0] == p[0] && (spelling[1] == 0 || (spelling[1] == p[1] && (spelling[2] == 0 || spelling[2] == p[2]))))
      return P_DOTS + i;
    i = i + 1;
  }
  return T_OTHER;
}

struct token *new_token(long kind, char *text, long n)
{
  struct token *t = (struct token *)allocate((long)sizeof(struct token));
  t->token_kind = kind;
  t->token_text = text;
  t->token_length = n;
  t->token_file = here_file;
  t->token_line = here_line;
  return t;
}

// quoted_end finds the end of a string or character that starts at p. In text
// that is skipped (lenient), a missing end is no error.
char *quoted_end(char *p, long lenient)
{
  char quote = p[0];
  p = p + 1;
  while (p[0] != quote) {
    if (p[0] == 0 || p[0] == '\n') {
      if (!lenient)
        fail("quote without an end on its line");
      return p;
    }
    if (p[0] == '\\' && p[1] && p[1] != '\n')
      p = p + 1;
    p = p + 1;
  }
  return p + 1;
}

// lex gives the next token of a file's text. Ends of lines are tokens here; the
// line is counted when its end is taken.
struct token *lex(struct source *s, long lenient)
{
  long space = skip_space(s);
  at_source(s);
  char *p = s->source_at;
  char *start = p;
  long class = class_of(p[0]);
  long kind = T_OTHER;
  if (class == C_LETTER) {
    while (class_of(p[0]) & (C_LETTER | C_DIGIT))
      p = p + 1;
    kind = T_NAME;
  } else if (class == C_DIGIT || (p[0] == '.' && class_of(p[1]) == C_DIGIT)) {
    kind = T_NUMBER;
    while (p[0] == '.' || (class_of(p[0]) & (C_LETTER | C_DIGIT))) {
      if ((p[0] == 'e' || p[0] == 'E' || p[0] == 'p' || p[0] == 'P') && (p[1] == '+' || p[1] == '-'))
        p = p + 1;
      p = p + 1;
    }
  } else if (p[0] == 0) {
    kind = T_END;
  } else if (p[0] == '\n') {
    kind = T_NEWLINE;
    s->source_line = s->source_line + 1;
    p = p + 1;
  } else if (p[0] == '"' || p[0] == '\'') {
    kind = T_STRING;
    if (p[0] == '\'')
      kind = T_CHARACTER;
    p = quoted_end(p, lenient);
  } else {
    kind = punctuator_at(p);
    if (kind == T_OTHER)
      p = p + 1;
    else
      p = p + length_of(punctuators[kind - P_DOTS]);
  }
  s->source_at = p;
  struct token *t = new_token(kind, start, p - start);
  t->token_space = space;
  if (kind == T_NAME)
    t->token_name = name_of(start, p - start);
  return t;
}

// Values of characters and strings

char *escape_end;               // behind the character that was read

// character_value reads one character of a literal, with its escapes.
long character_value(char *p)
{
  long c = p[0] & 255;
  if (c != '\\') {
    escape_end = p + 1;
    return c;
  }
  c = p[1] & 255;
  p = p + 2;
  if (c >= '0' && c <= '7') {
    long n = 1;
    c = c - '0';
    while (n < 3 && p[0] >= '0' && p[0] <= '7') {
      c = c * 8 + p[0] - '0';
      p = p + 1;
      n = n + 1;
    }
    c = c & 255;
  } else if (c == 'x') {
    if (digit_value(p[0]) > 15)
      fail("\\x without a digit");
    c = 0;
    while (digit_value(p[0]) <= 15) {
      c = (c * 16 + digit_value(p[0])) & 255;
      p = p + 1;
    }
  } else if (c == 'n') {
    c = '\n';
  } else if (c == 't') {
    c = '\t';
  } else if (c == 'r') {
    c = '\r';
  } else if (c == 'a') {
    c = 7;
  } else if (c == 'b') {
    c = 8;
  } else if (c == 'v') {
    c = 11;
  } else if (c == 'f') {
    c = 12;
  } else if (c == 'e') {
    c = 27;
  } else if (c != '\\' && c != '\'' && c != '"' && c != '?') {
    fail("unknown escape in a character or string");
  }
  escape_end = p;
  return c;
}

// character_constant gives the value of a character token: of type int, and a
// char is signed.
long character_constant(struct token *t)
{
  char *end = t->token_text + t->token_length - 1;
  if (t->token_length < 3)
    fail("empty character constant");
  long c = character_value(t->token_text + 1);
  if (escape_end != end)
    fail("character constant of more than one character");
  return (c ^ 128) - 128;
}
