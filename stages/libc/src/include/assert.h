/* May be included again, with NDEBUG defined or not. */
#undef assert

#ifdef NDEBUG
#define assert(condition) ((void)0)
#else
#define assert(condition) \
    ((condition) ? (void)0 : __assert_failed(#condition, __FILE__, __LINE__))
#endif

void __assert_failed(const char *condition, const char *file, int line);
