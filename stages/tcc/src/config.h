/* What tcc's configure would write. The folder goes into the binary. */
#define TCC_VERSION "0.9.27"
#define CONFIG_TCCDIR "/lib/tcc"
#define HOST_X86_64 1
#define TCC_TARGET_X86_64 1
