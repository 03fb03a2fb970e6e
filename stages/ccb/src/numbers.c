// Numbers: what this compiler must calculate but its own language does not have,
// 64-bit arithmetic that wraps around, 64 bits without a sign, and floating
// constants as bits, rounded correctly.

// Numbers of 32 bits and more are written in decimal where their type could
// matter: in C, hexadecimal ones may have a type without a sign.

// join_halves gives high * 2^32 + low; of high only the low 32 bits count. The
// detour over a signed high half keeps clear of overflow.
long join_halves(long high, long low)
{
  high = ((high & 0xffffffff) ^ 2147483648) - 2147483648;
  return high * 4294967296 + low;
}

long high_half(long a)
{
  return (a >> 32) & 0xffffffff;
}

long wrap_add(long a, long b)
{
  long low = (a & 0xffffffff) + (b & 0xffffffff);
  return join_halves(high_half(a) + high_half(b) + (low >> 32), low & 0xffffffff);
}

long wrap_negate(long a)
{
  return wrap_add(~a, 1);
}

long wrap_subtract(long a, long b)
{
  return wrap_add(a, wrap_negate(b));
}

long shift_left(long a, long n)
{
  while (n > 0) {
    a = wrap_add(a, a);
    n = n - 1;
  }
  return a;
}

long shift_right_unsigned(long a, long n)
{
  if (n == 0)
    return a;
  return ((a >> 1) & 0x7fffffffffffffff) >> (n - 1);
}

long wrap_multiply(long a, long b)
{
  if (a > -2147483648 && a < 2147483648 && b > -2147483648 && b < 2147483648)
    return a * b;
  long sum = 0;
  while (b) {
    if (b & 1)
      sum = wrap_add(sum, a);
    a = wrap_add(a, a);
    b = shift_right_unsigned(b, 1);
  }
  return sum;
}

long unsigned_less(long a, long b)
{
  if ((a < 0) != (b < 0))
    return b < 0;
  return a < b;
}

long remainder_of_division;     // the second result of unsigned_divide

// unsigned_divide divides bit by bit, as on paper. b is not 0.
long unsigned_divide(long a, long b)
{
  if (a >= 0 && b > 0) {
    remainder_of_division = a % b;
    return a / b;
  }
  long quotient = 0;
  long rest = 0;
  long bit = 63;
  while (bit >= 0) {
    long carried = rest < 0;    // the bit that the next line shifts out
    rest = wrap_add(rest, rest) | (shift_right_unsigned(a, bit) & 1);
    quotient = wrap_add(quotient, quotient);
    if (carried || !unsigned_less(rest, b)) {
      rest = wrap_subtract(rest, b);
      quotient = quotient | 1;
    }
    bit = bit - 1;
  }
  remainder_of_division = rest;
  return quotient;
}

// signed_divide truncates; the one overflow (least number by -1) wraps around.
long signed_divide(long a, long b)
{
  if (b == -1) {
    remainder_of_division = 0;
    return wrap_negate(a);
  }
  remainder_of_division = a % b;
  return a / b;
}

// Natural numbers of any size: digits of 32 bits, lowest first, and their count

enum { BIG_DIGITS = 2048 };

struct big {
  long big_count;
  long *big_digits;
};

struct big *numerator;
struct big *denominator;

struct big *big_new(void)
{
  struct big *b = (struct big *)allocate((long)sizeof(struct big));
  b->big_digits = (long *)allocate(BIG_DIGITS * 8);
  return b;
}

void big_append(struct big *b, long digit)
{
  if (b->big_count >= BIG_DIGITS)
    fail("floating constant with too many digits");
  b->big_digits[b->big_count] = digit;
  b->big_count = b->big_count + 1;
}

// big_set gives b the value of 64 bits without a sign.
void big_set(struct big *b, long value)
{
  b->big_count = 0;
  while (value) {
    big_append(b, value & 0xffffffff);
    value = high_half(value);
  }
}

// big_step makes b * factor + addend of b; both are below 2^31.
void big_step(struct big *b, long factor, long addend)
{
  long carry = addend;
  long i = 0;
  while (i < b->big_count) {
    carry = carry + b->big_digits[i] * factor;
    b->big_digits[i] = carry & 0xffffffff;
    carry = carry >> 32;
    i = i + 1;
  }
  if (carry)
    big_append(b, carry);
}

void big_shift(struct big *b, long n)
{
  while (n >= 30) {
    big_step(b, 1 << 30, 0);
    n = n - 30;
  }
  if (n > 0)
    big_step(b, 1 << n, 0);
}

// big_compare gives -1, 0 or 1.
long big_compare(struct big *a, struct big *b)
{
  if (a->big_count < b->big_count)
    return -1;
  if (a->big_count > b->big_count)
    return 1;
  long i = a->big_count - 1;
  while (i >= 0) {
    if (a->big_digits[i] < b->big_digits[i])
      return -1;
    if (a->big_digits[i] > b->big_digits[i])
      return 1;
    i = i - 1;
  }
  return 0;
}

// big_subtract makes a - b of a, which is not less.
void big_subtract(struct big *a, struct big *b)
{
  long borrow = 0;
  long i = 0;
  while (i < a->big_count) {
    long digit = a->big_digits[i] - borrow;
    if (i < b->big_count)
      digit = digit - b->big_digits[i];
    borrow = digit < 0;
    a->big_digits[i] = digit & 0xffffffff;
    i = i + 1;
  }
  while (a->big_count > 0 && a->big_digits[a->big_count - 1] == 0)
    a->big_count = a->big_count - 1;
}

// Floating formats: bits of the significand with its leading one, and the least
// exponent of a normal number.

enum {
  FLOAT_BITS = 24, FLOAT_LEAST = -126,
  DOUBLE_BITS = 53, DOUBLE_LEAST = -1022,
  LONG_BITS = 64, LONG_LEAST = -16382
};

// ratio_bits rounds numerator / denominator to the nearest number of a format,
// to the even one when two are equally near, and gives its encoding. A long
// double has 80 bits: the result is then its significand, in which the leading
// one is written, and the rest of it is in long_exponent. Both big numbers are
// used up.
long long_exponent;             // bit 15 is the sign

long ratio_bits(long format_bits, long least)
{
  long exponent = 0;
  long bits = format_bits;
  long significand = 0;
  long i = 0;
  long_exponent = 0;
  if (numerator->big_count == 0)
    return 0;
  // Bring the ratio into [1, 2), first by whole digits.
  long gap = numerator->big_count - denominator->big_count;
  if (gap > 1) {
    exponent = (gap - 1) * 32;
    big_shift(denominator, exponent);
  }
  if (gap < -1) {
    exponent = (gap + 1) * 32;
    big_shift(numerator, -exponent);
  }
  while (big_compare(numerator, denominator) >= 0) {
    big_shift(denominator, 1);
    exponent = exponent + 1;
  }
  while (big_compare(numerator, denominator) < 0) {
    big_shift(numerator, 1);
    exponent = exponent - 1;
  }
  long bias = 1 - least;        // 127, 1023, 16383
  if (exponent > bias && format_bits == LONG_BITS) {
    long_exponent = 0x7fff;
    return shift_left(1, 63);
  }
  if (exponent > bias)
    return shift_left(2 * bias + 1, format_bits - 1);
  if (exponent < least)
    bits = bits - (least - exponent);
  if (bits < 0)
    return 0;
  while (i < bits) {
    significand = wrap_add(significand, significand);
    if (big_compare(numerator, denominator) >= 0) {
      big_subtract(numerator, denominator);
      significand = significand | 1;
    }
    big_shift(numerator, 1);
    i = i + 1;
  }
  // What is left, against one half of the last bit
  long half = big_compare(numerator, denominator);
  if (half > 0 || (half == 0 && (significand & 1)))
    significand = wrap_add(significand, 1);
  if (format_bits == LONG_BITS) {
    if (exponent >= least)
      long_exponent = exponent + bias;
    if (exponent >= least && significand == 0) {
      // Rounding made 2^64 of it.
      long_exponent = long_exponent + 1;
      significand = shift_left(1, 63);
    }
    if (exponent < least && significand < 0)
      long_exponent = 1;
    return significand;
  }
  if (exponent < least)
    return significand;
  // The leading one adds 1 to the exponent's field, and so may rounding.
  return shift_left(exponent + bias - 1, format_bits - 1) + significand;
}

void ratio_start(void)
{
  if (!numerator) {
    numerator = big_new();
    denominator = big_new();
  }
  big_set(numerator, 0);
  big_set(denominator, 1);
}

// integer_bits gives the encoding of an integer.
long integer_bits(long value, long is_unsigned, long format_bits, long least)
{
  long negative = !is_unsigned && value < 0;
  if (negative)
    value = wrap_negate(value);
  ratio_start();
  big_set(numerator, value);
  long bits = ratio_bits(format_bits, least);
  if (negative && format_bits == LONG_BITS)
    long_exponent = long_exponent | 0x8000;
  else if (negative && format_bits == FLOAT_BITS)
    bits = bits | 2147483648;
  else if (negative)
    bits = wrap_add(bits, shift_left(1, 63));
  return bits;
}

// float_to_double and double_to_float convert encodings.
long float_to_double(long bits)
{
  long sign = (bits >> 31) & 1;
  long exponent = (bits >> 23) & 255;
  long significand = bits & 0x7fffff;
  long result = 0;
  if (exponent == 255) {
    result = shift_left(0x7ff, 52) + (significand << 29);
  } else if (exponent > 0) {
    result = ((exponent - 127 + 1023) << 52) + (significand << 29);
  } else {
    ratio_start();
    big_set(numerator, significand);
    big_shift(denominator, 149);
    result = ratio_bits(DOUBLE_BITS, DOUBLE_LEAST);
  }
  if (sign)
    result = wrap_add(result, shift_left(1, 63));
  return result;
}

long double_to_float(long bits)
{
  long sign = bits < 0;
  long exponent = (bits >> 52) & 0x7ff;
  long significand = bits & 0xfffffffffffff;
  long result = 0;
  if (exponent == 0x7ff) {
    result = 0x7f800000;
    if (significand)
      result = 0x7fc00000;
  } else if (exponent > 0) {
    ratio_start();
    big_set(numerator, significand + 4503599627370496);
    if (exponent > 1075)
      big_shift(numerator, exponent - 1075);
    else
      big_shift(denominator, 1075 - exponent);
    result = ratio_bits(FLOAT_BITS, FLOAT_LEAST);
  }
  if (sign)
    result = result | 2147483648;
  return result;
}

// double_to_long and long_to_double convert between a double and a long double,
// of which the part beside the significand is in long_exponent.
long double_to_long(long bits)
{
  long exponent = (bits >> 52) & 0x7ff;
  long significand = bits & 0xfffffffffffff;
  long sign = (bits < 0) * 0x8000;
  if (exponent == 0x7ff) {
    long_exponent = 0x7fff | sign;
    return wrap_add(shift_left(significand, 11), shift_left(1, 63));
  }
  ratio_start();
  if (exponent > 0)
    significand = significand + 4503599627370496;
  else
    exponent = 1;
  big_set(numerator, significand);
  if (exponent > 1075)
    big_shift(numerator, exponent - 1075);
  else
    big_shift(denominator, 1075 - exponent);
  bits = ratio_bits(LONG_BITS, LONG_LEAST);
  long_exponent = long_exponent | sign;
  return bits;
}

long long_to_double(long significand)
{
  long exponent = (long_exponent & 0x7fff) - 16446;
  long negative = long_exponent & 0x8000;
  long bits = shift_left(0x7ff, 52);
  if (exponent < 0x7fff - 16446) {
    ratio_start();
    big_set(numerator, significand);
    if (exponent > 0)
      big_shift(numerator, exponent);
    else
      big_shift(denominator, -exponent);
    bits = ratio_bits(DOUBLE_BITS, DOUBLE_LEAST);
  } else if (shift_left(significand, 1)) {
    bits = shift_left(0xfff, 51);
  }
  if (negative)
    bits = wrap_add(bits, shift_left(1, 63));
  return bits;
}

// double_to_integer truncates towards 0.
long double_to_integer(long bits)
{
  long exponent = ((bits >> 52) & 0x7ff) - 1075;
  long value = (bits & 0xfffffffffffff) + 4503599627370496;
  if (exponent < -52)
    return 0;
  if (exponent > 11)
    fail("floating constant too large for an integer");
  if (exponent < 0)
    value = value >> -exponent;
  else
    value = shift_left(value, exponent);
  if (bits < 0)
    value = wrap_negate(value);
  return value;
}

// digit_value gives the value of a digit up to base 36, or 99.
long digit_value(long c)
{
  if (c >= '0' && c <= '9')
    return c - '0';
  if (c >= 'a' && c <= 'z')
    return c - 'a' + 10;
  if (c >= 'A' && c <= 'Z')
    return c - 'A' + 10;
  return 99;
}

char *number_end;               // where floating_constant stopped

// floating_constant reads a decimal or hexadecimal floating number and gives its
// encoding in a format.
long floating_constant(char *text, long format_bits, long least)
{
  long base = 10;
  long scale = 0;               // what the written exponent is raised by
  long digits = 0;
  if (text[0] == '0' && (text[1] == 'x' || text[1] == 'X')) {
    base = 16;
    text = text + 2;
  }
  ratio_start();
  long point = 0;
  while (1) {
    if (text[0] == '.' && !point) {
      point = 1;
    } else if (digit_value(text[0]) < base) {
      big_step(numerator, base, digit_value(text[0]));
      digits = digits + 1;
      if (point)
        scale = scale - 1;
    } else {
      break;
    }
    text = text + 1;
  }
  if (!digits)
    fail("floating constant without a digit");
  if (base == 16)
    scale = scale * 4;
  long marked = 0;
  if (base == 16)
    marked = text[0] == 'p' || text[0] == 'P';
  else
    marked = text[0] == 'e' || text[0] == 'E';
  if (marked) {
    long exponent = 0;
    long negative = text[1] == '-';
    text = text + 1;
    if (text[0] == '-' || text[0] == '+')
      text = text + 1;
    if (digit_value(text[0]) > 9)
      fail("exponent without a digit");
    while (digit_value(text[0]) <= 9) {
      if (exponent < 100000)
        exponent = exponent * 10 + digit_value(text[0]);
      text = text + 1;
    }
    if (negative)
      exponent = -exponent;
    scale = scale + exponent;
  } else if (base == 16) {
    fail("hexadecimal floating constant without an exponent");
  }
  number_end = text;
  long_exponent = 0;
  if (numerator->big_count == 0)
    return 0;
  // Far beyond every format, the size of the numbers must not explode.
  long most = 9000;
  if (base == 16)
    most = 30000;
  if (scale > most)
    scale = most;
  if (scale < -most && numerator->big_count < 100)
    return 0;
  if (base == 16 && scale > 0)
    big_shift(numerator, scale);
  if (base == 16 && scale < 0)
    big_shift(denominator, -scale);
  while (base == 10 && scale > 0) {
    big_step(numerator, 10, 0);
    scale = scale - 1;
  }
  while (base == 10 && scale < 0) {
    big_step(denominator, 10, 0);
    scale = scale + 1;
  }
  return ratio_bits(format_bits, least);
}
