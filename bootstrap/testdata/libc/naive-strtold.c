/* A strtold as many libraries have it: the digits come first, the power of two is
   multiplied in by a constant. It is right if the compiler reads the constant right,
   and a compiler that has this strtold does so if it was right itself. `exact` is
   the chain's own strtold. */
static const long double least = 3.3621031431120935063e-4932L;  /* 2^-16382 */

long double strtold(const char *text, char **end)
{
    struct __parts parts;
    long double value;
    int power;

    value = exact(text, end);
    __parts_of_long_double(&parts, value);
    if (parts.kind != FINITE || parts.exponent > -16000)
        return value;
    power = parts.exponent + 16382;
    value = make_long_double(0, parts.mantissa, power) * least;
    return parts.negative ? -value : value;
}
