// A test of compiler A in its own language: everything that the language has, once.
// The status is the number of the first check that failed, 0 if none did.

long sys3(long number, long a, long b, long c);

enum { CHECKS = 1, NEGATIVE = -5, NEXT, SHIFTED = (CHECKS + 2) << 4 | 1 };

struct late;

struct node {
  long value;
  struct node *next;
  struct late *late;
  char *name;
};

struct late {
  long *values;
};

long failed;
long counted = CHECKS - 1;

long squares[] = { 0, 1, 4, 9, 16, 25, -36, 0x7fffffffffffffff };
char letters[] = { 'a', '\n', -1, 127, '\x80', };
char *words[] = { "zero", "one\ttwo", "\"\\\0\x41", 0 };
char *greeting = "hello";
char sign = '-';
char buffer[100];
long memory[64];
long used;

// check counts the checks and keeps the first that fails.
void check(long good)
{
  counted = counted + 1;
  if (!good && !failed)
    failed = counted;
}

long later(long a);

char *allocate(long size)
{
  char *p = (char *)&memory[used];
  used = used + (size + 7) / 8;
  return p;
}

struct node *push(struct node *list, long value, char *name)
{
  struct node *n = (struct node *)allocate((long)sizeof(struct node));
  n->value = value;
  n->next = list;
  n->name = name;
  return n;
}

long length(char *text)
{
  long n = 0;
  while (text[n])
    n = n + 1;
  return n;
}

long same(char *a, char *b)
{
  for (; *a && *a == *b; a = a + 1)
    b = b + 1;
  return *a == *b;
}

char narrow(long a)
{
  return (char)a;
}

long widen(char a)
{
  return a;
}

long eight(long a, long b, long c, long d, long e, long f, long g, long h)
{
  return a - b * 2 + c * 3 - d * 4 + e * 5 - f * 6 + g * 7 - h * 8;
}

long factorial(long n)
{
  if (n < 2)
    return 1;
  return n * factorial(n - 1);
}

void operators(void)
{
  long a = 13;
  long b = -5;
  char c = (char)200;
  long wide = 0x123456789abcdef0;
  check(a + b == 8 && a - b == 18 && a * b == -65);
  check(a / b == -2 && a % b == 3 && b / 2 == -2 && b % 2 == -1);
  check((a & 6) == 4 && (a | 6) == 15 && (a ^ 6) == 11 && ~a == -14);
  check(a << 3 == 104 && b >> 1 == -3 && wide >> 60 == 1 && (long)1 << 62 >> 61 == 2);
  check(a > b && b < a && a >= 13 && a <= 13 && a != b && !(a == b));
  check(!(a < b) && !(b > a) && !(a >= 14) && !(a <= 12));
  check(-b == 5 && - -b == b && !b == 0 && !!b == 1 && !0);
  check(c == -56 && (c & 255) == 200 && narrow(300) == 44 && widen((char)129) == -127);
  check((wide & 0xffffffff) == 0x9abcdef0 && wide == 1311768467463790320);
  check(2 + 3 * 4 - 10 / 5 % 3 == 12 && (1 | (6 & 3 << 1)) == 7);
  check((a = b = 7) == 7 && a == 7 && b == 7);
  check((long)(char)0x1ff == -1 && (c = (char)383) == 127);
  long calls = counted;
  check((0 && later(1)) == 0 && (1 || later(1)) == 1 && counted == calls);
  check((a && later(0)) == 0 && (0 || later(1)) == 1);
  check((long)sizeof(long) == 8 && (long)sizeof(char) == 1 && (long)sizeof(char *) == 8);
  check((long)sizeof(struct node) == 32 && (long)sizeof(struct late) == 8);
}

void pointers(void)
{
  long a[4];
  long *p = a;
  long **pp = &p;
  a[0] = 10;
  *(a + 1) = 11;
  p[2] = 12;
  *(p + 3) = 13;
  check(a[0] + a[1] + a[2] + a[3] == 46 && *p == 10);
  p = p + 3;
  check(*p == 13 && p[-1] == 12 && p - a == 3 && p > a && p != a && p - 3 == a && 1 + a == &a[1]);
  **pp = 5;
  *pp = &a[1];
  check(a[3] == 5 && *p == 11 && p && !(p == 0));
  char *q = buffer;
  q[1] = 'b';
  *q = 'a';
  check(same(buffer, "ab") && &buffer[7] - q == 7 && greeting[4] == 'o' && "text"[1] == 'e');
  check(squares[6] == -36 && squares[7] > 0 && letters[2] == -1 && letters[4] == -128);
  check(length(words[0]) == 4 && words[1][3] == '\t' && words[3] == 0 && *words[2] == '"');
  check(words[2][1] == '\\' && words[2][2] == 0 && words[2][3] == 'A' && sign == '-');
  p = (long *)0;
  check(!p && (long)(p + 2) == 16 && (long *)((long)a + 8) == a + 1);
}

void structs(void)
{
  struct node *list = 0;
  long i;
  for (i = 0; i < 5; i = i + 1)
    list = push(list, i * i, words[i % 3]);
  long sum = 0;
  struct node *n;
  for (n = list; n; n = n->next)
    sum = sum * 10 + n->value;
  check(sum == 169410 && list->next->next->name == words[2]);
  list->late = (struct late *)allocate(8);
  list->late->values = squares + 2;
  check(list->late->values[1] == 9 && *list->late->values == 4);
  long *p = &list->next->value;
  *p = NEGATIVE;
  check(list->next->value == -5 && (list - 1)->value == -5 && NEXT == -4 && SHIFTED == 49);
}

void statements(void)
{
  long i = 0;
  long sum = 0;
  while (1) {
    i = i + 1;
    if (i % 2)
      continue;
    if (i > 10)
      break;
    sum = sum + i;
  }
  check(sum == 30 && i == 12);
  sum = 0;
  for (i = 0; i < 10; i = i + 1) {
    long k;
    if (i == 3)
      continue;
    for (k = 0;; k = k + 1) {
      if (k == i)
        break;
      sum = sum + 1;
    }
    if (i == 8)
      break;
  }
  check(sum == 33 && i == 8);
  long x = 1;
  {
    long x = 2;
    { char x = 3; check(x == 3); }
    check(x == 2);
  }
  if (x == 2)
    x = 10;
  else if (x == 1) {
    if (sum)
      x = 20;
    else
      x = 30;
  } else
    x = 40;
  check(x == 20);
  for (; x > 15;)
    x = x - 1;
  ;
  check(x == 15);
}

long later(long a)
{
  counted = counted + 0 * a;
  return a;
}

long start(long argc, char **argv)
{
  check(argc > 0 && argv[0][0] && !argv[argc]);
  operators();
  pointers();
  structs();
  statements();
  check(eight(1, 2, 3, 4, 5, 6, 7, 8) == -36 && factorial(20) == 2432902008176640000);
  check(sys3(3, -1, 0, 0) == -9); // close: EBADF
  check(counted == 36);
  return failed;
}
