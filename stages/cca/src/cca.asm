# cca: compiler A, from a small C to a static ELF executable.
#
#   usage: cca OUT IN...        needs amd64.asm, elf.asm before it
#
# The language is a subset of C99: what cca accepts means the same to any C
# compiler for this machine, where long and pointers have 64 bits and char has 8
# and a sign. The INs are read as one text, with an LF after each.
#
# Tokens     identifiers of up to 60 bytes; numbers, decimal or 0x...; characters
#            'c' and strings "...", with \n \t \r \0 \\ \' \" \xHH, never joined;
#            comments as in C; no preprocessor, no "#"
# Types      long, char, struct NAME by pointer only, pointers of any depth to
#            these, arrays of one dimension; void for a function without a result
# At file level, one name a declaration
#            struct NAME { members };  each a long or a pointer, 8 bytes; a
#                                    member's name is unique in the program
#            struct NAME;            comes later; a pointer to it will do, too
#            enum { A, B = 5 };      constants, in 32 bits with a sign
#            long x;  long x = 5;  char *s = "a";   struct T *p;
#            long a[9];  long a[] = { 1, 2 };  char *s[] = { "a", 0 };
#            long f(long a, char *b);  and the same with a block; (void) if there
#                                    are no parameters, up to 8 of them
# In blocks  long x;  long x = e;  char b[9];  with the scopes of C
# Statements e;  ;  { }  if else  while  for (e; e; e)  break  continue  return
# Expressions, the loosest first
#            =   ||   &&   |   ^   &   == !=   < <= > >=   << >>   + -   * / %
#            - ! ~ * & (TYPE)e sizeof(TYPE)   f(a, b)  p[i]  p->member
# Constants  (initial values at file level, sizes of arrays, values in an enum) are
#            expressions of numbers, characters, strings, enum constants, sizeof,
#            with all operators but && || = unary * and &, calls, [] and ->
# Built in   long sys3(long number, long a, long b, long c);  a system call. The
#            program declares it so
# Entry      long start(long argc, char **argv);  its result is the exit status
#
# A function, variable, constant or struct stands before its use. Types are
# checked as far as the code depends on them; the rest is left to other compilers.
# C gives some values a type without a sign: sizeof, and hex numbers that only
# fit without one. What would then be calculated differently is an error. C leaves
# open which operand or argument is calculated first; here it is the left one.
#
# Any error prints "FILE:LINE: reason: text from there on" and exits with status
# 1. OUT is opened only when all else went well, and gets mode 0755.
#
# There is room for 4 MB each of text, code and data, 32,768 names at a time, 1 GB
# of variables, 1 MB of locals in a function, 122,880 values for an array, and for
# nesting as deep as 1 MB of stack allows, which is thousands of levels.
#
# How it works: in one pass. Each routine of the grammar begins with its first
# token read, takes its tokens and writes the code for them at once, and ends with
# the token behind them read. A jump or call whose target is not known yet is
# filled in later: until then its 4 bytes hold the address of the place that waits
# for the same target and came before it, or 0. Such a chain is known by its last
# place.
#
# In this text: memory, registers, tokens, types, forms and symbols as tables; then
# the code for reading, tokens, symbols, types, writing code, values, expressions,
# statements, declarations, functions and OUT; then tables, and errors.
#
# The code that comes out: the value of an expression is in rax; when a second
# one is calculated the first is on the stack. Arguments are pushed from left to
# right, 8 bytes each, and taken off by the caller. The result is in rax. rbp is
# kept, no other register is. The frame of a function with n parameters:
#
#   [rbp+16+8(n-1-i)] parameter i, from 0     [rbp+8] where to return
#   [rbp] the caller's rbp                    [rbp-8] and below: locals
#
# A char has 8 bytes as a variable of its own, of which only the lowest counts;
# in an array it has one. With x at [rbp-8] and p at [rbp-16], "x = p[1] + 2;" is
#
#   lea rax, [rbp-8]    push rax        mov rax, [rbp-16]    mov ecx, 8
#   add rax, rcx        mov rax, [rax]  mov ecx, 2           add rax, rcx
#   pop rcx             mov [rcx], rax
#
# The addresses of the program that comes out:
#
#   0x400000   headers and code, read and execute
#   0x800000   initialised objects and strings, read and write
#   0xc00000   the other objects, zero, read and write, up to 0x40000000
#
# Memory:  0x400000   this program
#          0x500000   what is defined next
#          0x500100   the INs, 16 bytes each: address of the name, of the text
#          0x600000   their text, 4 MB
#          0xa00000   symbols, 32 bytes each, 1 MB
#          0xc00000   headers and code of OUT, 4 MB
#          0x1000000  data of OUT, 4 MB
=ins         4:0x500100
=ins-end     4:0x600000
=text        4:0x600000
=text-full   4:0x9fffff   # the text ends with a zero
=symbols     4:0xa00000
=symbols-end 4:0xb00000
=code        4:0xc00000
=code-full   4:0xfff000   # no token adds more than the page that is left
=data        4:0x1000000
=data-full   4:0x13ffff8
=bss         4:0xc00000   # in OUT
=bss-full    4:0x40000000
=lands       4:-0x800000  # from a place in the code or data to its address in OUT

=text-end    4:0x500000   # behind the text
=out-name    4:0x500008   # name of OUT
=stack-low   4:0x500010   # rsp must not get below
=data-end    4:0x500018   # behind the data of OUT so far
=bss-end     4:0x500020   # behind the other objects so far, address in OUT
=inside      4:0x500028   # 1 from the parameters to the end of a function
=scope       4:0x500030   # first symbol of the innermost block
=function    4:0x500038   # symbol of the function
=frame       4:0x500040   # bytes of the locals that are in scope
=frame-most  4:0x500048   # the most of the function so far
=breaks      4:0x500050   # chain of what waits for the end of the loop
=again       4:0x500058   # where continue goes; 0 outside loops
=start-calls 4:0x500060   # chain of what waits for start, 0 when it is there
=number-type 4:0x500068   # type of the number that is the token
=scale       4:0x500070   # factor for the left operand, or 0
=quotient    4:0x500078   # divisor for the difference of pointers, or 0
=elements    4:0x500080   # of an array with initial values, so far
=parameters  4:0x500088   # of a function, so far
=types       4:0x5000a0   # the number that is made of their types
=enumerator  4:0x500090   # the next value of an enum
=members     4:0x500098   # bytes of a struct so far

# Registers for the whole run:
#
#   rsi = next character        rdi = next byte of code
#   r13 = where the token begins, r14 = the token, r15 = its value
#   r12 = first free symbol
#   rbx = type, rbp = form, r8 = value, of the expression that was compiled last
#
# All others are free for use. System calls keep all but rax, rcx, r11.

# Tokens. A single character stands for itself; its code is 32 or more.
=END         1:0
=NAME        1:1          # value: its hash; its text ends before rsi
=NUMBER      1:2          # value: the number
=STRING      1:3          # value: its address in OUT
=LONG        1:4          # LONG to STRUCT begin a type
=CHAR        1:5
=VOID        1:6
=STRUCT      1:7
=ENUM        1:8
=IF          1:9
=ELSE        1:10
=WHILE       1:11
=FOR         1:12
=BREAK       1:13
=CONTINUE    1:14
=RETURN      1:15
=SIZEOF      1:16
=EQUAL       1:17         # ==
=UNEQUAL     1:18         # !=
=AT-MOST     1:19         # <=
=AT-LEAST    1:20         # >=
=SHIFT-LEFT  1:21         # <<
=SHIFT-RIGHT 1:22         # >>
=BOTH        1:23         # &&
=EITHER      1:24         # ||
=ARROW       1:25         # ->
=FOREIGN     1:127        # is in C, but not in this language

# Types. The low byte counts the pointers, the rest is what they lead to; for a
# struct the address of its symbol. So one more is a pointer to the type, and one
# less is what a pointer leads to. The last three are types of values only.
=void-type   4:0x000
=char-type   4:0x100
=long-type   4:0x200
=int-type    4:0x300      # has 32 bits in C: numbers, characters, comparisons
=uint-type   4:0x400      # the same without a sign
=ulong-type  4:0x500      # 64 bits without a sign

# The types of parameters are made into one number: 31 times that of those before,
# plus the last type. It finds slips: the code does not depend on it.
=longs-4     4:15761408   # long, long, long, long
=long-argv   4:16130      # long, char **

# Forms of an expression
=VALUE       1:0          # code is out that puts its value into rax
=PLACE       1:1          # code is out that puts the address of it into rax
=LEA         1:2          # the same, and the code ends with a lea of 7 bytes
=KNOWN       1:3          # the value is in r8; no code is out for it

# Symbols, 32 bytes each. A block's are dropped at its end. The hash of a name has
# the number of its name space added, so names of two spaces are never equal.
=its-name    1:0          # 4 bytes: address of its name in the text
=its-length  1:4          # 4 bytes: length of the name
=its-hash    1:8          # 4 bytes
=its-kind    1:12         # 1 byte: as below; 0 for members and structs, and for a
                          # constant whose value is still being read
=its-array   1:13         # 1 byte: 1 for an array
=its-count   1:14         # 1 byte: parameters of a function
=its-type    1:16         # 4 bytes: type; of an array, of its elements
=its-calls   1:20         # 4 bytes: of a function, chain of calls waiting for it
=its-owner   1:20         # 4 bytes: of a member, type of pointers to its struct
=its-types   1:28         # 4 bytes: of a function, the types of its parameters
=its-value   1:24         # 8 bytes, before its-types only 4. Of a member its place in
                          # the struct; of a struct its size, 0 if not known yet;
                          # else by the kind:
=CONSTANT    1:1          # its value
=GLOBAL      1:2          # its address in OUT
=LOCAL       1:3          # its distance from rbp; also of a parameter
=FUNCTION    1:4          # where its code begins in our memory, 0 if unknown
=ordinary    4:0          # the name spaces
=tags        4:1
=fields      4:2

# Reading the INs

:start
  mov_r13d,i32 $usage
  pop_rax                 # argc
  cmp_eax,i8 1:3
  jb32 %bad-usage
  pop_rdi                 # argv[0]
  pop_rax
  mov_[d32],rax out-name
  mov_ebx,i32 ins
  mov_ebp,i32 text

:file                     # rbx = entry of the file, rbp = where its text begins
  mov_[rbx+d8],rbp 1:8    # for the entry behind the last file, the end
  pop_rdi
  test_rdi,rdi
  je8 @complete           # the null pointer behind the last IN
  mov_[rbx],rdi
  mov_r13,rdi
  add_ebx,i8 1:16
  cmp_ebx,i32 ins-end
  je32 %bad-size
  mov_eax,i32 4:2         # open
  xor_esi,esi             # O_RDONLY
  syscall
  test_eax,eax
  js32 %bad-read
  mov_r12d,eax
:file-more
  mov_esi,ebp
  mov_edx,i32 text-full
  dec_edx                 # room for the LF
  sub_edx,ebp
  jbe32 %bad-size
  mov_edi,r12d
  xor_eax,eax             # read
  syscall
  test_eax,eax
  js32 %bad-read
  je8 @file-end
  add_ebp,eax
  jmp8 @file-more
:file-end
  mov_byte[rbp+d8],i8 1:0 0a
  inc_ebp
  mov_eax,i32 4:3         # close
  mov_edi,r12d
  syscall
  jmp8 @file

:complete
  mov_[d32],ebp text-end
  lea_rax,[rsp+d32] 4:-0x100000
  mov_[d32],rax stack-low # 1 MB must do; usually there are 8
  mov_dword[d32],i32 data-end data
  mov_dword[d32],i32 bss-end bss
  mov_r12d,i32 symbols
  mov_[d32],r12d scope
  mov_esi,i32 $head       # OUT begins with its headers
  mov_edi,i32 code
  mov_ecx,i32 $head-end
  sub_ecx,esi
  rep_movsb
  lea_eax,[rdi+d8] 1:-13  # the call of start is 9 bytes before the end
  mov_[d32],eax start-calls
  mov_esi,i32 text
  call %next
:program
  test_r14d,r14d
  je32 %finish            # END
  call %declaration
  jmp8 @program

# Tokens

:next                     # takes the next token. Keeps all other registers but
  cmp_edi,i32 code-full   # rax, rcx, rdx, r9
  ja32 %bad-code
:next-skip
  mov_r13d,esi
  xor_eax,eax
  lodsb
  cmp_al,i8 " "
  je8 @next-skip
  cmp_al,i8 0a
  je8 @next-skip
  cmp_al,i8 09            # tab
  je8 @next-skip
  cmp_al,i8 "/"
  jne8 @next-token
  cmp_byte[rsi],i8 "/"
  je8 @line-comment
  cmp_byte[rsi],i8 "*"
  je8 @comment
:next-token
  cmp_al,i8 22            # double quote
  je32 %string
  cmp_al,i8 "'"
  je32 %letter
  call %name-character
  jae8 @operator
  cmp_al,i8 "9"
  ja32 %name
  jmp32 %number

:line-comment
  lodsb
  cmp_al,i8 0a
  jne8 @line-comment
  cmp_byte[rsi+d8],i8 1:-2 "\"
  je32 %bad-splice        # in C the comment would go on in the next line
  jmp8 @next-skip
:comment
  inc_esi
:comment-more
  lodsb
  cmp_esi,[d32] text-end
  ja32 %bad-comment
  cmp_al,i8 "*"
  jne8 @comment-more
  cmp_byte[rsi],i8 "/"
  jne8 @comment-more
  inc_esi
  jmp8 @next-skip

:operator                 # eax = its first character
  mov_cx,[rsi+d8] 1:-1    # both characters
  mov_edx,i32 $pairs
:operator-pair
  cmp_cx,[rdx]
  je8 @operator-two
  add_edx,i8 1:3
  cmp_byte[rdx],i8 1:0
  jne8 @operator-pair
  mov_edx,i32 $singles
:operator-single
  cmp_al,[rdx]
  je8 @operator-one
  inc_edx
  cmp_byte[rdx],i8 1:0
  jne8 @operator-single
  dec_esi
  cmp_esi,[d32] text-end
  jne32 %bad-character
  dec_r13d                # END. Now errors have a line to show, and eax is 0
:operator-one
  mov_r14d,eax
  ret
:operator-two
  inc_esi
  movzx_r14d,byte[rdx+d8] 1:2
  cmp_r14d,i8 FOREIGN
  je32 %bad-foreign
  cmp_byte[rsi],i8 "="    # <<= and >>=; also what is an error anyway, like ===
  je32 %bad-foreign
  ret

:name                     # eax = its first character
  xor_r15d,r15d
:name-more
  imul_r15d,r15d,i8 1:31  # the hash
  add_r15d,eax
  movzx_eax,byte[rsi]
  call %name-character
  jae8 @name-end
  inc_esi
  jmp8 @name-more
:name-end
  mov_eax,esi
  sub_eax,r13d
  cmp_eax,i8 1:60
  ja32 %bad-name
  mov_edx,i32 $keywords
:keyword                  # rdx = entry of a keyword: length, token, text
  movzx_ecx,byte[rdx]
  test_ecx,ecx
  je8 @keyword-none
  cmp_eax,ecx
  jne8 @keyword-next
  push_rsi
  push_rdi
  mov_esi,r13d
  lea_edi,[rdx+d8] 1:2
  repe_cmpsb
  pop_rdi
  pop_rsi
  je8 @keyword-found
:keyword-next
  movzx_ecx,byte[rdx]
  add_edx,ecx
  add_edx,i8 1:2
  jmp8 @keyword
:keyword-found
  movzx_r14d,byte[rdx+d8] 1:1
  cmp_r14d,i8 FOREIGN
  je32 %bad-foreign
  ret
:keyword-none
  push_i8 NAME
  pop_r14
  ret

:name-character           # carry if eax is a letter, a digit or "_"; keeps it
  lea_ecx,[rax+d8] 1:-48  # "0"
  cmp_ecx,i8 1:10
  jb8 @name-character-end
  mov_ecx,eax
  or_ecx,i8 1:0x20        # A-Z become a-z
  sub_ecx,i8 "a"
  cmp_ecx,i8 1:26
  jb8 @name-character-end
  cmp_eax,i8 "_"
  jne8 @name-character-none
  stc
:name-character-end
  ret
:name-character-none
  clc
  ret

:number                   # eax = its first character
  xor_r15d,r15d
  cmp_al,i8 "0"
  jne8 @decimal
  mov_al,[rsi]
  or_al,i8 1:0x20
  cmp_al,i8 "x"
  je8 @hex
  jmp8 @decimal-end       # a digit behind it, for an octal number, is an error
:decimal
  dec_esi
:decimal-digit
  movzx_eax,byte[rsi]
  sub_eax,i8 "0"
  cmp_eax,i8 1:9
  ja8 @decimal-end
  inc_esi
  imul_r15,r15,i8 1:10
  jo32 %bad-number
  add_r15,rax
  jo32 %bad-number
  jmp8 @decimal-digit
:decimal-end
  mov_edx,i32 long-type
  jmp8 @number-end

:hex
  inc_esi
  mov_r9d,esi
:hex-digit
  movzx_eax,byte[rsi]
  call %digit
  cmp_eax,i8 1:15
  ja8 @hex-end
  inc_esi
  mov_rcx,r15
  shr_rcx,i8 1:60
  jne32 %bad-number       # more than 64 bits
  shl_r15,i8 1:4
  or_r15,rax
  jmp8 @hex-digit
:hex-end
  cmp_esi,r9d
  je32 %bad-number        # no digit
  mov_edx,i32 ulong-type
  test_r15,r15
  js8 @number-typed
  mov_edx,i32 uint-type
  mov_rcx,r15
  shr_rcx,i8 1:32
  je8 @number-end
  mov_edx,i32 long-type
:number-end               # edx = its type unless it is small
  mov_rcx,r15
  shr_rcx,i8 1:31
  jne8 @number-typed
  mov_edx,i32 int-type
:number-typed
  mov_[d32],edx number-type
  movzx_eax,byte[rsi]
  call %name-character
  jb32 %bad-number        # 12ab, 1L, 010
  push_i8 NUMBER
  pop_r14
  ret

:digit                    # eax = value of the digit eax, above 15 if it is none
  sub_eax,i8 "0"
  cmp_eax,i8 1:9
  jbe8 @digit-end
  add_eax,i8 "0"
  or_eax,i8 1:0x20        # A-F become a-f
  sub_eax,i8 "a"
  cmp_eax,i8 1:5
  ja8 @digit-none
  add_eax,i8 1:10
:digit-end
  ret
:digit-none
  or_eax,i8 1:-1
  ret

:letter                   # a character constant
  cmp_byte[rsi],i8 "'"
  je32 %bad-literal       # is empty
  call %character
  movsx_r15,al
  lodsb
  cmp_al,i8 "'"
  jne32 %bad-literal
  mov_dword[d32],i32 number-type int-type
  push_i8 NUMBER
  pop_r14
  ret

:string                   # goes to the data at once
  mov_edx,[d32] data-end
  lea_r15d,[rdx+d32] lands
:string-more
  cmp_edx,i32 data-full
  jae32 %bad-data
  cmp_byte[rsi],i8 22     # double quote
  je8 @string-end
  call %character
  mov_[rdx],al
  inc_edx
  jmp8 @string-more
:string-end
  inc_esi
  inc_edx                 # a zero ends it, which is there already
  mov_[d32],edx data-end
  push_i8 STRING
  pop_r14
  ret

:character                # eax = the next one of a constant or string; keeps rdx
  xor_eax,eax
  lodsb
  cmp_al,i8 0a
  je32 %bad-literal       # no end on this line
  cmp_al,i8 "\"
  je8 @escape
  ret
:escape
  lodsb
  mov_cl,i8 0a
  cmp_al,i8 "n"
  je8 @escape-end
  mov_cl,i8 09
  cmp_al,i8 "t"
  je8 @escape-end
  mov_cl,i8 0d
  cmp_al,i8 "r"
  je8 @escape-end
  mov_ecx,eax
  cmp_al,i8 "\"
  je8 @escape-end
  cmp_al,i8 "'"
  je8 @escape-end
  cmp_al,i8 22            # double quote
  je8 @escape-end
  cmp_al,i8 "x"
  je8 @escape-hex
  cmp_al,i8 "0"
  jne32 %bad-literal
  mov_al,[rsi]
  sub_al,i8 "0"
  cmp_al,i8 1:10
  jb32 %bad-literal       # an octal number in C
  xor_ecx,ecx
:escape-end
  mov_eax,ecx
  ret
:escape-hex               # just two digits; C would take more if they followed
  lodsb
  call %digit
  cmp_eax,i8 1:15
  ja32 %bad-literal
  mov_ecx,eax
  shl_ecx,i8 1:4
  xor_eax,eax
  lodsb
  call %digit
  cmp_eax,i8 1:15
  ja32 %bad-literal
  add_ecx,eax
  movzx_eax,byte[rsi]
  call %digit
  cmp_eax,i8 1:15
  jbe32 %bad-literal
  jmp8 @escape-end

:expect                   # takes the token whose character stands behind the call
  pop_rdx
  mov_al,[rdx]
  inc_edx
  push_rdx
  cmp_al,r14b
  je32 %next
  mov_[d32],al $expected
  push_i32 $expected
  jmp32 %fail-at

# Symbols

:find                     # eax = the innermost symbol of the name that is the
  add_edx,r15d            # token, in the name space edx, or 0
  mov_eax,r12d
:find-next
  cmp_eax,i32 symbols
  je8 @find-none
  sub_eax,i8 1:32
  cmp_[rax+d8],edx its-hash
  jne8 @find-next
  mov_ecx,esi
  sub_ecx,r13d
  cmp_[rax+d8],ecx its-length
  jne8 @find-next
  push_rsi
  push_rdi
  mov_esi,r13d
  mov_edi,[rax+d8] its-name
  repe_cmpsb
  pop_rdi
  pop_rsi
  jne8 @find-next
  ret
:find-none
  xor_eax,eax
  ret

:enter                    # rax = a new symbol for the name that is the token, in
  cmp_r12d,i32 symbols-end   # the name space edx; all else of it is 0
  jae32 %bad-symbols
  mov_eax,r12d
  add_r12d,i8 1:32
  add_edx,r15d
  mov_[rax+d8],edx its-hash
  mov_[rax],r13d          # its-name
  mov_ecx,esi
  sub_ecx,r13d
  mov_[rax+d8],ecx its-length
  xor_ecx,ecx
  mov_[rax+d8],ecx its-kind
  mov_[rax+d8],rcx its-type
  mov_[rax+d8],rcx its-value
  ret

:define                   # the same for a name that must be new in its block (a
  cmp_r14d,i8 NAME        # member in the program); takes the token
  jne32 %bad-nameless
  push_rdx
  call %find
  pop_rdx
  cmp_eax,[d32] scope     # 0 is below
  jae32 %bad-double
  call %enter
  push_rax
  call %next
  pop_rax
  ret

# Types

:is-type                  # carry if the token begins a type
  lea_eax,[r14+d8] 1:-4   # LONG
  cmp_eax,i8 1:4          # up to STRUCT
  ret

:type                     # ebx = the type that the tokens give
  call %base-type
:stars
  cmp_r14d,i8 "*"
  jne8 @stars-end
  cmp_ebx,i32 void-type
  je32 %bad-void
  inc_bl
  je32 %bad-stars
  call %next
  jmp8 @stars
:stars-end
  ret

:base-type                # the same without the stars
  mov_ebx,i32 long-type
  cmp_r14d,i8 LONG
  je32 %next
  mov_ebx,i32 char-type
  cmp_r14d,i8 CHAR
  je32 %next
  mov_ebx,i32 void-type
  cmp_r14d,i8 VOID
  je32 %next
  cmp_r14d,i8 STRUCT
  jne32 %bad-type
  call %next
  cmp_r14d,i8 NAME
  jne32 %bad-nameless
  mov_edx,i32 tags
  call %find
  test_eax,eax
  jne8 @base-type-known
  test_byte[d32],i8 inside 1:1
  jne32 %bad-struct       # in C it would be known in this block only
  mov_edx,i32 tags
  call %enter
:base-type-known
  mov_ebx,eax
  shl_ebx,i8 1:8
  jmp32 %next

:scalar                   # an error unless ebx can be the type of a variable
  test_bl,bl
  jne8 @scalar-end
  cmp_ebx,i32 long-type
  je8 @scalar-end
  cmp_ebx,i32 char-type
  jne32 %bad-variable
:scalar-end
  ret

:size                     # ecx = the size of an object of type ebx
  mov_ecx,i32 4:8
  test_bl,bl
  jne8 @size-end
  cmp_ebx,i32 long-type
  je8 @size-end
  mov_ecx,i32 4:1
  cmp_ebx,i32 char-type
  je8 @size-end
  mov_ecx,ebx
  shr_ecx,i8 1:8
  je32 %bad-size-of       # void
  mov_ecx,[rcx+d8] its-value
  test_ecx,ecx
  je32 %bad-size-of       # a struct without its members
:size-end
  ret

# Writing code

:emit                     # writes the bytes behind the call, whose number is the
  pop_rdx                 # first of them. Keeps all but rcx, rdx
  movzx_ecx,byte[rdx]
  inc_edx
  xchg_rdx,rsi
  rep_movsb
  xchg_rdx,rsi
  jmp_rdx

:patch                    # all places of the chain eax get the distance to here
  test_eax,eax
  je8 @patch-end
  mov_edx,[rax]           # the place before
  lea_ecx,[rdi+d8] 1:-4
  sub_ecx,eax
  mov_[rax],ecx
  mov_eax,edx
  jmp8 @patch
:patch-end
  ret

:emit-known               # code that puts the number r9 into rax (edx = 0) or into
  mov_rax,r9              # rcx (edx = 1); keeps r8 to r11
  mov_ecx,eax             # the low half, then zeros
  cmp_rcx,rax
  je8 @emit-known-low
  movsxd_rcx,eax          # the low half, then copies of its sign
  cmp_rcx,rax
  je8 @emit-known-sign
  mov_al,i8 48            # mov r64, i64: 48 b8+r i64
  stosb
  lea_eax,[rdx+d32] b8000000
  stosb
  mov_rax,r9
  stosq
  ret
:emit-known-low
  lea_eax,[rdx+d32] b8000000   # mov r32, i32: b8+r i32
  stosb
  mov_eax,ecx
  stosd
  ret
:emit-known-sign
  mov_ax,i16 48c7         # mov r64, i32: 48 c7 c0+r i32
  stosw
  lea_eax,[rdx+d32] c0000000
  stosb
  mov_eax,ecx
  stosd
  ret

# Values of expressions

:value                    # makes the form of the expression VALUE or KNOWN
  test_ebp,ebp
  je8 @value-typed        # VALUE
  cmp_ebp,i8 KNOWN
  je8 @value-typed
  test_bl,bl
  jne8 @value-long
  cmp_ebx,i32 char-type
  je8 @value-char
  cmp_ebx,i32 long-type
  jne32 %bad-value        # a struct
:value-long
  cmp_ebp,i8 LEA
  je8 @value-long-lea
  call %emit 1:3 mov_rax,[rax]
  jmp8 @value-loaded
:value-long-lea           # the lea becomes a mov of the same operand
  mov_byte[rdi+d8],i8 1:-6 8b
  jmp8 @value-loaded
:value-char
  cmp_ebp,i8 LEA
  je8 @value-char-lea
  call %emit 1:4 movsx_rax,byte[rax]
  jmp8 @value-loaded
:value-char-lea           # 48 8d and operand become 48 0f be, movsx, and operand
  mov_al,[rdi+d8] 1:-5
  mov_ecx,[rdi+d8] 1:-4
  cmp_al,i8 05            # [rip+d32]: the distance is from the end, which moves
  jne8 @value-char-moved
  dec_ecx
:value-char-moved
  mov_word[rdi+d8],i16 1:-6 0fbe
  mov_[rdi+d8],al 1:-4
  mov_[rdi+d8],ecx 1:-3
  inc_edi
:value-loaded
  xor_ebp,ebp             # VALUE
:value-typed
  cmp_ebx,i32 void-type
  je32 %bad-value
  cmp_ebx,i32 char-type
  jne8 @value-end
  mov_ebx,i32 int-type    # as C promotes it
:value-end
  ret

:result                   # makes the form of the expression VALUE
  call %value
  test_ebp,ebp
  je8 @result-end
  mov_r9,r8
  xor_edx,edx
  call %emit-known
  xor_ebp,ebp             # VALUE
:result-end
  ret

:integer                  # an error unless the expression has an integer type
  test_bl,bl
  jne32 %bad-integer
  ret

:fits                     # an error if an int in r8 has more than 32 bits
  cmp_ebx,i32 int-type
  jne8 @fits-end
  movsxd_rax,r8d
  cmp_rax,r8
  jne32 %bad-overflow
:fits-end
  ret

:constant                 # r8 = value of the constant expression that comes
  mov_eax,i32 4:1
  call %binary
  cmp_ebp,i8 KNOWN
  jne32 %bad-constant
  ret

# Expressions

:condition                # ( expression ) and a test of it
  call %expect "("
  call %expression
  call %expect ")"
:test
  call %result
  call %emit 1:3 test_rax,rax
  ret

:expression
  mov_eax,i32 4:1
  call %binary
  cmp_r14d,i8 "="
  jne8 @expression-end
  cmp_ebp,i8 PLACE
  je8 @assignment
  cmp_ebp,i8 LEA
  jne32 %bad-target
:assignment
  call %scalar            # not a struct
  call %emit 1:1 push_rax
  push_rbx
  call %next
  call %expression
  call %result
  pop_rbx
  call %emit 1:1 pop_rcx
  cmp_ebx,i32 char-type
  je8 @assignment-char
  call %emit 1:3 mov_[rcx],rax
  ret
:assignment-char          # its value is that of the char
  call %emit 1:6 mov_[rcx],al movsx_rax,al
:expression-end
  ret

:binary                   # an expression of operators with precedence eax or more
  push_rax
  call %unary
:binary-next
  mov_edx,i32 $operators
:binary-find              # rdx = entry of an operator: token, precedence, class,
  movzx_eax,byte[rdx]     # length of its code, code
  test_eax,eax
  je8 @binary-end
  cmp_eax,r14d
  je8 @binary-found
  movzx_eax,byte[rdx+d8] 1:3
  add_edx,eax
  add_edx,i8 1:4
  jmp8 @binary-find
:binary-end
  pop_rax
  ret
:binary-found
  mov_al,[rdx+d8] 1:1
  cmp_al,[rsp]
  jb8 @binary-end
  cmp_byte[rdx+d8],i8 1:1 1:2
  jbe8 @short-circuit

  push_rdx
  call %value
  push_rbx
  push_r8
  push_rbp
  test_ebp,ebp
  jne8 @binary-right
  call %emit 1:1 push_rax
:binary-right
  call %next
  mov_edx,[rsp+d8] 1:24   # the operator, below rbx, r8 and rbp
  movzx_eax,byte[rdx+d8] 1:1
  inc_eax                 # an equal one ends the right operand
  call %binary
  call %value
  pop_r10                 # the form of the left operand
  pop_r9                  # its value
  pop_rax                 # its type
  pop_r11                 # the operator
  call %combine
  jmp8 @binary-next

# The code of && and ||. Both ways to its end come with the flags of a test:
#
#   left; test rax, rax; je or jne END; right; test rax, rax; END: setne al
:short-circuit
  push_rdx                # the operator
  call %test
  mov_edx,[rsp]
  mov_ax,[rdx+d8] 1:4     # the code in the table is that of the jump
  stosw
  xor_eax,eax
  stosd                   # a chain of one place
  push_rdi
  call %next
  mov_edx,[rsp+d8] 1:8    # the operator
  movzx_eax,byte[rdx+d8] 1:1
  inc_eax
  call %binary
  call %test
  pop_rax
  sub_eax,i8 1:4          # the place that waits
  call %patch
  pop_rdx
  call %emit 1:6 setne_al movzx_eax,al
  mov_ebx,i32 int-type
  jmp32 %binary-next

# combine writes the code of a binary operator.
#
#   r11 = its entry in operators
#   eax = type of the left operand, r10 = form, r9 = value
#   ebx = type of the right operand, ebp = form, r8 = value
#
# A left operand that is a VALUE is on the stack, and if the right one is KNOWN
# then this push is the last byte of the code.
:combine
  xor_edx,edx
  mov_[d32],edx scale
  mov_[d32],edx quotient
  mov_cl,[r11+d8] 1:2     # the class
  test_al,al
  jne8 @combine-pointer
  test_bl,bl
  jne32 %combine-with-pointer
  jmp32 %combine-integers

:combine-pointer          # the left operand is one
  cmp_cl,i8 "="
  je8 @pointer-equal
  cmp_cl,i8 "<"
  je8 @pointer-order
  cmp_cl,i8 "+"
  je8 @pointer-add
  cmp_cl,i8 "-"
  jne32 %bad-integer
  test_bl,bl
  je8 @pointer-add        # all but the operator is the same
  cmp_eax,ebx
  jne32 %bad-difference
  dec_ebx
  call %size
  mov_[d32],ecx quotient
  mov_ebx,i32 long-type
  jmp32 %operands
:pointer-equal            # to another pointer or to 0
  test_bl,bl
  jne32 %comparison
  cmp_ebp,i8 KNOWN
  jne32 %bad-pointer
  test_r8,r8
  jne32 %bad-pointer
  jmp32 %comparison
:pointer-order            # only among pointers
  test_bl,bl
  je32 %bad-pointer
  jmp32 %comparison
:pointer-add              # pointer + integer, pointer - integer
  call %integer
  lea_ebx,[rax+d8] 1:-1
  call %size
  inc_ebx
  cmp_ebp,i8 KNOWN
  je8 @pointer-add-known
  cmp_ecx,i8 1:1
  je32 %operands
  mov_eax,ecx
  call %emit 1:3 imul_rax,rax,i32
  stosd
  jmp32 %operands
:pointer-add-known
  imul_r8,rcx
  jmp32 %operands

:equal-pointer            # 0 and a pointer
  cmp_r10d,i8 KNOWN
  jne32 %bad-pointer
  test_r9,r9
  jne32 %bad-pointer
  jmp32 %comparison
:combine-with-pointer     # only the right operand is one
  cmp_cl,i8 "="
  je8 @equal-pointer
  cmp_cl,i8 "+"
  jne32 %bad-integer
  dec_ebx
  call %size
  inc_ebx
  cmp_r10d,i8 KNOWN
  je8 @add-pointer-known
  mov_[d32],ecx scale
  jmp32 %operands
:add-pointer-known
  imul_r9,rcx
  jmp32 %operands

# The type of the result is as in C. Where it has no sign, the code, which always
# calculates in 64 bits with a sign, must come to the same: with 64 bits, all but
# / % < <= > >= and >> do, with 32 bits against an int only &.
:combine-integers
  cmp_cl,i8 "l"
  je8 @combine-shift
  cmp_cl,i8 "r"
  je8 @combine-shift
  mov_edx,i32 ulong-type
  cmp_eax,edx
  je8 @combine-ulong
  cmp_ebx,edx
  je8 @combine-ulong
  mov_edx,i32 long-type
  cmp_eax,edx
  je8 @combine-typed
  cmp_ebx,edx
  je8 @combine-typed
  mov_edx,i32 uint-type
  cmp_eax,edx
  je8 @combine-uint
  cmp_ebx,edx
  je8 @combine-uint
  mov_edx,i32 int-type
  jmp8 @combine-typed
:combine-ulong
  cmp_cl,i8 "/"
  je32 %bad-unsigned
  cmp_cl,i8 "<"
  je32 %bad-unsigned
  jmp8 @combine-typed
:combine-uint
  cmp_cl,i8 "&"
  jne32 %bad-unsigned
:combine-typed            # edx = the type of both operands
  mov_ebx,edx
  cmp_cl,i8 "<"
  je8 @comparison
  cmp_cl,i8 "="
  jne8 @operands
:comparison
  mov_ebx,i32 int-type
  jmp8 @operands

:combine-shift            # has the type of the left operand
  mov_ebx,eax
  cmp_ebp,i8 KNOWN
  jne8 @combine-shift-sign
  mov_edx,i32 4:63        # the most places for 64 bits
  cmp_ebx,i32 long-type
  je8 @combine-shift-count
  cmp_ebx,i32 ulong-type
  je8 @combine-shift-count
  mov_edx,i32 4:31        # and for 32
:combine-shift-count
  cmp_r8,rdx
  ja32 %bad-shift
:combine-shift-sign
  mov_edx,i32 ulong-type
  cmp_cl,i8 "r"
  je8 @combine-shift-check
  mov_edx,i32 uint-type
:combine-shift-check
  cmp_ebx,edx
  je32 %bad-unsigned

:operands                 # bring the left operand to rax, the right one to rcx
  test_r10d,r10d
  jne8 @operands-known
  test_ebp,ebp
  jne8 @operands-right
  call %emit 1:4 mov_rcx,rax pop_rax
  jmp8 @operation
:operands-right
  dec_edi                 # instead of push and pop
  mov_r9,r8
  mov_edx,i32 4:1
  call %emit-known
  jmp8 @operation
:operands-known
  test_ebp,ebp
  jne8 @fold
  call %emit 1:3 mov_rcx,rax
  xor_edx,edx
  call %emit-known

:operation
  mov_eax,[d32] scale
  test_eax,eax
  je8 @operation-code
  call %emit 1:3 imul_rax,rax,i32
  stosd
:operation-code
  call %emit-operator
  xor_ebp,ebp             # VALUE
  mov_eax,[d32] quotient
  cmp_eax,i8 1:1
  jbe8 @operation-end
  call %emit 1:1 mov_ecx,i32
  stosd
  call %emit 1:5 cqo idiv_rcx
:operation-end
  ret

:emit-operator
  push_rsi
  movzx_ecx,byte[r11+d8] 1:3
  lea_rsi,[r11+d8] 1:4
  rep_movsb
  pop_rsi
  ret

# If both operands are known, the result is: cca writes the code as always, runs
# it and forgets it.
:fold
  cmp_byte[r11+d8],i8 1:2 "/"
  jne8 @fold-run
  test_r8,r8
  je32 %bad-division
  cmp_r8,i8 1:-1
  jne8 @fold-run
  mov_rax,r9
  neg_rax
  jo32 %bad-overflow      # the least number by -1
:fold-run
  push_rdi
  call %emit-operator
  mov_al,i8 c3            # ret
  stosb
  pop_rdi
  mov_rax,r9
  mov_rcx,r8
  call_rdi
  mov_ecx,[d32] quotient
  test_ecx,ecx            # here it may be 1, too
  je8 @fold-end
  cqo
  idiv_rcx
:fold-end
  mov_r8,rax
  jmp32 %fits

# An expression of the unary operators, and what stands behind an operand

:unary
  cmp_rsp,[d32] stack-low
  jb32 %bad-depth
  cmp_r14d,i8 NAME
  je32 %use
  cmp_r14d,i8 NUMBER
  je8 @use-number
  cmp_r14d,i8 STRING
  je8 @use-string
  cmp_r14d,i8 "("
  je8 @parenthesis
  cmp_r14d,i8 "*"
  je32 %star
  cmp_r14d,i8 "&"
  je32 %ampersand
  cmp_r14d,i8 "-"
  je32 %minus
  cmp_r14d,i8 "~"
  je32 %complement
  cmp_r14d,i8 "!"
  je32 %not
  cmp_r14d,i8 SIZEOF
  je32 %size-of
  jmp32 %bad-expression

:use-number
  mov_ebx,[d32] number-type
  jmp8 @use-known
:use-string
  mov_ebx,i32 char-type
  inc_ebx
:use-known
  mov_r8,r15
  push_i8 KNOWN
  pop_rbp
  call %next
  jmp32 %postfix

:parenthesis
  call %next
  call %is-type
  jb8 @cast
  call %expression
  call %expect ")"
  jmp32 %postfix

:cast
  call %type
  call %scalar
  call %expect ")"
  push_rbx
  call %unary
  call %value
  pop_rbx
  cmp_ebx,i32 char-type
  jne8 @cast-end
  cmp_ebp,i8 KNOWN
  je8 @cast-known
  call %emit 1:4 movsx_rax,al
:cast-end
  ret
:cast-known
  movsx_r8,r8b
  ret

:star
  call %next
  call %unary
  call %result
  test_bl,bl
  je32 %bad-pointer
  dec_ebx
  inc_ebp                 # PLACE
  ret

:ampersand
  call %next
  call %unary
  cmp_ebp,i8 PLACE
  je8 @ampersand-place
  cmp_ebp,i8 LEA
  jne32 %bad-address
:ampersand-place
  xor_ebp,ebp             # VALUE
  inc_bl
  je32 %bad-stars
  ret

:minus
  call %operand
  cmp_ebp,i8 KNOWN
  je8 @minus-known
  call %emit 1:3 neg_rax
  ret
:minus-known
  neg_r8
  jmp32 %fits

:complement
  call %operand
  cmp_ebp,i8 KNOWN
  je8 @complement-known
  call %emit 1:3 not_rax
  ret
:complement-known
  not_r8
  ret

:operand                  # that of - or ~
  call %next
  call %unary
  call %value
  cmp_ebx,i32 uint-type   # would lose its high half in C
  je32 %bad-unsigned
  jmp32 %integer

:not
  call %next
  call %unary
  call %value
  mov_ebx,i32 int-type
  cmp_ebp,i8 KNOWN
  je8 @not-known
  call %emit 1:9 test_rax,rax sete_al movzx_eax,al
  ret
:not-known
  xor_eax,eax
  test_r8,r8
  sete_al
  mov_r8,rax
  ret

:size-of
  call %next
  call %expect "("
  call %type
  call %expect ")"
  call %size
  mov_r8d,ecx
  mov_ebx,i32 ulong-type
  push_i8 KNOWN
  pop_rbp
  ret

:use                      # of a name
  mov_edx,i32 ordinary
  call %find
  test_eax,eax
  je32 %bad-unknown
  mov_ebx,[rax+d8] its-type
  mov_dl,[rax+d8] its-kind
  cmp_dl,i8 FUNCTION
  je8 @call
  cmp_dl,i8 LOCAL
  je8 @use-local
  cmp_dl,i8 GLOBAL
  je8 @use-global
  cmp_dl,i8 CONSTANT
  jne32 %bad-unknown      # in its own value
  mov_r15,[rax+d8] its-value
  jmp32 %use-known         # its-type is int-type

:use-local
  call %emit 1:3 lea_rax,[rbp+d32]
  push_rax
  mov_eax,[rax+d8] its-value
  stosd
  jmp8 @use-variable
:use-global
  call %emit 1:3 lea_rax,[rip+d32]
  push_rax
  mov_eax,[rax+d8] its-value
  sub_eax,edi             # the distance counts from behind its 4 bytes, and what
  add_eax,i32 4:0x7ffffc  # is written at edi lands 0x800000 below
  stosd
:use-variable
  pop_rax
  push_i8 LEA
  pop_rbp
  test_byte[rax+d8],i8 its-array 1:1
  je8 @use-end
  inc_ebx                 # an array's value is the address of its first element
  xor_ebp,ebp             # VALUE
:use-end
  call %next
  jmp32 %postfix

:call                     # of the function rax
  push_rax
  push_i8 1:0             # arguments so far
  call %next
  call %expect "("
  cmp_r14d,i8 ")"
  je8 @arguments-end
:argument
  call %expression
  call %result
  call %emit 1:1 push_rax
  inc_dword[rsp]
  cmp_r14d,i8 ","
  jne8 @arguments-end
  call %next
  jmp8 @argument
:arguments-end
  pop_rcx
  pop_r9
  movzx_eax,byte[r9+d8] its-count
  cmp_ecx,eax
  jne32 %bad-arguments
  mov_ebx,[r9+d8] its-type
  xor_ebp,ebp             # VALUE
  mov_al,i8 e8            # call
  stosb
  mov_eax,[r9+d8] its-value
  test_eax,eax
  je8 @call-later
  lea_edx,[rdi+d8] 1:4
  sub_eax,edx
  stosd
  jmp8 @call-end
:call-later               # the function is not there yet
  mov_eax,[r9+d8] its-calls
  mov_[r9+d8],edi its-calls
  stosd
:call-end
  test_ecx,ecx
  je8 @call-bare
  shl_ecx,i8 1:3
  mov_eax,ecx
  call %emit 1:3 add_rsp,i8
  stosb
:call-bare
  call %expect ")"

:postfix                  # what may follow an operand
  cmp_r14d,i8 "["
  je8 @index
  cmp_r14d,i8 ARROW
  je8 @arrow
  ret

:index                    # p[i] is *(p + i)
  call %value
  test_bl,bl
  je32 %bad-pointer
  push_rbx
  push_r8
  push_rbp
  test_ebp,ebp
  jne8 @index-right
  call %emit 1:1 push_rax
:index-right
  call %next
  call %expression
  call %value
  pop_r10
  pop_r9
  pop_rax
  mov_r11d,i32 $plus
  call %combine
  call %result
  dec_ebx
  inc_ebp                 # PLACE
  call %expect "]"
  jmp8 @postfix

:arrow
  call %result
  call %next
  cmp_r14d,i8 NAME
  jne32 %bad-nameless
  mov_edx,i32 fields
  call %find
  test_eax,eax
  je32 %bad-unknown
  cmp_ebx,[rax+d8] its-owner
  jne32 %bad-member
  mov_ebx,[rax+d8] its-type
  mov_eax,[rax+d8] its-value
  call %emit 1:3 lea_rax,[rax+d32]
  stosd
  push_i8 LEA
  pop_rbp
  call %next
  jmp32 %postfix

# Statements

:statement
  cmp_rsp,[d32] stack-low
  jb32 %bad-depth
  cmp_r14d,i8 "{"
  je8 @block
  cmp_r14d,i8 IF
  je32 %if
  cmp_r14d,i8 WHILE
  je32 %while
  cmp_r14d,i8 FOR
  je32 %for
  cmp_r14d,i8 BREAK
  je32 %break
  cmp_r14d,i8 CONTINUE
  je32 %continue
  cmp_r14d,i8 RETURN
  je32 %return
  cmp_r14d,i8 ";"
  je32 %next
  call %expression
  call %expect ";"
  ret

:block
  mov_eax,[d32] scope
  push_rax
  mov_eax,[d32] frame
  push_rax
  push_r12
  mov_[d32],r12d scope
  call %next
  call %block-rest
  pop_r12                 # its names are forgotten, their places free again
  pop_rax
  mov_[d32],eax frame
  pop_rax
  mov_[d32],eax scope
  ret

:block-rest               # all behind "{"
  cmp_r14d,i8 "}"
  je32 %next
  call %is-type
  jb8 @block-local
  call %statement
  jmp8 @block-rest
:block-local
  call %local
  jmp8 @block-rest

:local                    # the declaration of one
  call %type
  call %scalar
  mov_edx,i32 ordinary
  call %define
  mov_byte[rax+d8],i8 its-kind LOCAL
  mov_[rax+d8],ebx its-type
  push_rax
  mov_eax,i32 4:8
  cmp_r14d,i8 "["
  jne8 @local-one
  call %dimension
  pop_rdx
  push_rdx
  mov_byte[rdx+d8],i8 its-array 1:1
:local-one                # rax = its size
  add_eax,[d32] frame
  cmp_eax,i32 4:0x100000  # 1 MB; both were 2 to the 30 at most
  ja32 %bad-frame
  mov_[d32],eax frame
  cmp_eax,[d32] frame-most
  jbe8 @local-placed
  mov_[d32],eax frame-most
:local-placed
  neg_eax
  pop_rdx
  mov_[rdx+d8],eax its-value
  cmp_r14d,i8 "="
  jne8 @local-end
  test_byte[rdx+d8],i8 its-array 1:1
  jne8 @local-end         # and there ";" is expected
  push_rdx
  call %next
  call %expression
  call %result
  pop_r9
  cmp_dword[r9+d8],i32 its-type char-type
  je8 @local-char
  call %emit 1:3 mov_[rbp+d32],rax
  jmp8 @local-stored
:local-char
  call %emit 1:2 mov_[rbp+d32],al
:local-stored
  mov_eax,[r9+d8] its-value
  stosd
:local-end
  call %expect ";"
  ret

:dimension                # eax = the bytes of an array with elements of type ebx,
  call %next              # a multiple of 8, less than 2 to the 30
:dimension-rest
  push_rbx
  call %constant
  call %integer
  pop_rbx
  test_r8,r8
  jle32 %bad-dimension
  cmp_r8,i32 bss-full
  jae32 %bad-dimension
  call %size
  imul_r8,rcx
  add_r8,i8 1:7
  and_r8,i8 1:-8
  cmp_r8,i32 bss-full
  jae32 %bad-dimension
  call %expect "]"
  mov_eax,r8d
  ret

:if
  call %next
  call %condition
  call %emit 1:6 je32 4:0
  lea_eax,[rdi+d8] 1:-4
  push_rax
  call %statement
  cmp_r14d,i8 ELSE
  jne8 @if-end
  call %emit 1:5 jmp32 4:0
  pop_rax
  call %patch
  lea_eax,[rdi+d8] 1:-4
  push_rax
  call %next
  call %statement
:if-end
  pop_rax
  jmp32 %patch

# The code of a loop waits for its end in the chain breaks: the jump of its
# condition as the first, then each break. The outer loop's is kept meanwhile.
:while
  call %next
  mov_eax,[d32] breaks
  push_rax
  mov_eax,[d32] again
  push_rax
  mov_[d32],edi again
  call %condition
  call %emit 1:6 je32 4:0
  lea_eax,[rdi+d8] 1:-4
  mov_[d32],eax breaks
:loop-body
  call %statement
  mov_edx,[d32] again
  call %emit-back
  mov_eax,[d32] breaks
  call %patch
  pop_rax
  mov_[d32],eax again
  pop_rax
  mov_[d32],eax breaks
  ret

:emit-back                # a jump back to edx
  mov_al,i8 e9            # jmp
  stosb
  mov_eax,edx
  lea_edx,[rdi+d8] 1:4
  sub_eax,edx
  stosd
  ret

# The code of a for, in the order of the text:
#
#   first; TEST: condition; je END; jmp BODY; STEP: step; jmp TEST;
#   BODY: statement; jmp STEP; END:
:for
  call %next
  call %expect "("
  cmp_r14d,i8 ";"
  je8 @for-first
  call %expression
:for-first
  call %expect ";"
  mov_eax,[d32] breaks
  push_rax
  mov_eax,[d32] again
  push_rax
  mov_[d32],edi again     # TEST, and STEP too if there is no step
  xor_eax,eax
  cmp_r14d,i8 ";"
  je8 @for-test
  call %expression
  call %test
  call %emit 1:6 je32 4:0
  lea_eax,[rdi+d8] 1:-4
:for-test
  mov_[d32],eax breaks
  call %expect ";"
  cmp_r14d,i8 ")"
  je8 @for-step
  call %emit 1:5 jmp32 4:0
  mov_eax,[d32] again
  push_rax                # TEST
  mov_[d32],edi again     # STEP
  push_rdi                # behind the jump to BODY
  call %expression
  pop_rax
  pop_rdx
  push_rax
  call %emit-back
  pop_rax
  sub_eax,i8 1:4
  call %patch             # BODY is here
:for-step
  call %expect ")"
  jmp32 %loop-body

:break
  call %in-loop
  mov_al,i8 e9            # jmp
  stosb
  mov_eax,[d32] breaks
  mov_[d32],edi breaks    # its 4 bytes come to hold the place before
  stosd
  call %expect ";"
  ret

:continue
  call %in-loop
  mov_edx,[d32] again
  call %emit-back
  call %expect ";"
  ret

:in-loop                  # takes the token, an error outside loops
  cmp_dword[d32],i32 again 4:0
  je32 %bad-loop
  jmp32 %next

:return
  call %next
  mov_eax,[d32] function
  cmp_dword[rax+d8],i32 its-type void-type
  je8 @return-bare
  call %expression
  call %result
  mov_eax,[d32] function
  cmp_dword[rax+d8],i32 its-type char-type
  jne8 @return-bare
  call %emit 1:4 movsx_rax,al
:return-bare
  call %emit 1:2 leave ret
  call %expect ";"
  ret

# Declarations at file level

:declaration
  cmp_r14d,i8 ENUM
  je32 %enum
  call %base-type         # for a struct, its name makes it known
  cmp_r14d,i8 "{"
  je32 %struct
  cmp_r14d,i8 ";"
  je32 %struct-later
  call %stars
  cmp_r14d,i8 NAME
  jne32 %bad-nameless
  mov_edx,i32 ordinary
  call %find
  push_rax                # another declaration of the same name, or 0
  mov_edx,i32 ordinary
  call %enter
  mov_[rax+d8],ebx its-type
  push_rax
  call %next
  pop_rax
  pop_rdx
  cmp_r14d,i8 "("
  je32 %function-head
  test_edx,edx
  jne32 %global-again
  call %scalar

  # a variable, rax = its symbol
  mov_byte[rax+d8],i8 its-kind GLOBAL
  push_rax
  cmp_r14d,i8 "="
  je8 @global-value
  mov_eax,i32 4:8
  cmp_r14d,i8 "["
  jne8 @global-bss
  call %next
  cmp_r14d,i8 "]"
  je8 @global-values
  call %dimension-rest
  pop_rdx
  push_rdx
  mov_byte[rdx+d8],i8 its-array 1:1
:global-bss               # eax = its size
  mov_edx,[d32] bss-end
  add_eax,edx             # both are 2 to the 30 at most
  cmp_eax,i32 bss-full
  ja32 %bad-bss
  mov_[d32],eax bss-end
  jmp32 %global-placed

:global-value
  call %next
  call %initial
  push_r8
  mov_dword[d32],i32 elements 4:1
  jmp8 @global-store

:global-values            # they wait on the stack, since strings go to the data
  call %next
  mov_rax,[rsp]
  mov_byte[rax+d8],i8 its-array 1:1
  xor_eax,eax
  mov_[d32],eax elements
  call %expect "="
  call %expect "{"
:global-element
  cmp_dword[d32],i32 elements 4:122880
  jae32 %bad-elements     # the stack has room for a few more
  call %initial
  push_r8
  inc_dword[d32] elements
  cmp_r14d,i8 ","
  jne8 @global-elements
  call %next
  cmp_r14d,i8 "}"
  jne8 @global-element
:global-elements
  call %expect "}"

:global-store
  mov_eax,[d32] data-end
  add_eax,i8 1:7
  and_eax,i8 1:-8
  call %size
  mov_edx,ecx
  mov_ecx,[d32] elements
  imul_edx,ecx
  add_edx,eax
  cmp_edx,i32 data-full
  ja32 %bad-data
  mov_[d32],edx data-end
:global-element-store     # the last is on top
  pop_rdx
  dec_ecx
  cmp_ebx,i32 char-type
  jne8 @global-long
  mov_[rax+rcx],dl
  jmp8 @global-stored
:global-long
  mov_[rax+rcx*8],rdx
:global-stored
  test_ecx,ecx
  jne8 @global-element-store
  lea_edx,[rax+d32] lands
:global-placed            # edx = its address in OUT
  pop_rax
  mov_[rax+d8],edx its-value
  call %expect ";"
  ret

:initial                  # r8 = an initial value for the type ebx
  push_rbx
  call %constant
  pop_rcx
  cmp_ecx,i32 char-type
  jne8 @initial-end
  call %integer
  movsx_rax,r8b
  cmp_rax,r8
  jne32 %bad-overflow
:initial-end
  mov_ebx,ecx
  ret

:global-again
  mov_r13d,[rax]          # its-name
  jmp32 %bad-double

:enum
  call %next
  call %expect "{"
  xor_eax,eax
  mov_[d32],rax enumerator
:enum-constant
  mov_edx,i32 ordinary
  call %define
  mov_dword[rax+d8],i32 its-type int-type
  mov_r8,[d32] enumerator
  cmp_r14d,i8 "="
  jne8 @enum-next
  push_rax
  call %next
  call %constant
  call %integer
  pop_rax
:enum-next                # rax = symbol, r8 = value
  mov_byte[rax+d8],i8 its-kind CONSTANT
  mov_[rax+d8],r8 its-value
  movsxd_rax,r8d
  cmp_rax,r8
  jne32 %bad-overflow
  inc_r8
  mov_[d32],r8 enumerator
  cmp_r14d,i8 ","
  jne8 @enum-end
  call %next
  cmp_r14d,i8 "}"
  jne8 @enum-constant
:enum-end
  call %expect "}"
  call %expect ";"
  ret

:struct-later
  cmp_ebx,i32 long-type
  jbe32 %bad-nameless     # long;
  jmp32 %next

:struct                   # ebx = its type
  cmp_ebx,i32 long-type
  jbe32 %bad-nameless     # long {
  mov_eax,ebx
  shr_eax,i8 1:8
  cmp_dword[rax+d8],i32 its-value 4:0
  jne32 %bad-double
  push_rax
  inc_ebx
  push_rbx
  call %next
  xor_eax,eax
  mov_[d32],eax members
:struct-member
  call %type
  call %scalar
  cmp_ebx,i32 char-type
  je32 %bad-char
  mov_edx,i32 fields
  call %define
  mov_[rax+d8],ebx its-type
  mov_edx,[rsp]
  mov_[rax+d8],edx its-owner
  mov_edx,[d32] members
  mov_[rax+d8],edx its-value
  add_edx,i8 1:8
  mov_[d32],edx members
  call %expect ";"
  cmp_r14d,i8 "}"
  jne8 @struct-member
  pop_rbx
  pop_rax
  mov_edx,[d32] members
  mov_[rax+d8],edx its-value
  call %expect "}"
  call %expect ";"
  ret

# Functions

:function-head            # rax = new symbol, rdx = an older one of the name or 0,
  test_bl,bl              # ebx = type of the result
  jne8 @function-typed
  cmp_ebx,i32 long-type
  ja32 %bad-variable      # a struct
:function-typed
  mov_byte[rax+d8],i8 its-kind FUNCTION
  test_edx,edx
  je8 @function-parameters
  cmp_byte[rdx+d8],i8 its-kind FUNCTION
  jne32 %bad-again
  cmp_[rdx+d8],ebx its-type
  jne32 %bad-again
  mov_r12d,eax            # drops the new symbol
  mov_eax,edx
:function-parameters      # rax = the symbol to use
  push_rdx
  push_rax
  mov_dword[d32],i32 inside 4:1
  mov_[d32],r12d scope
  xor_eax,eax
  mov_[d32],eax parameters
  mov_[d32],eax types
  call %next
  cmp_r14d,i8 VOID
  jne8 @parameter
  call %next              # and there ")" is expected
  jmp8 @parameters-end
:parameter
  call %type
  call %scalar
  mov_edx,i32 ordinary
  call %define
  mov_byte[rax+d8],i8 its-kind LOCAL
  mov_[rax+d8],ebx its-type   # its-value follows when all are counted
  imul_ecx,[d32],i8 types 1:31
  add_ecx,ebx
  mov_[d32],ecx types
  mov_ecx,[d32] parameters
  inc_ecx
  mov_[d32],ecx parameters
  cmp_ecx,i8 1:8
  ja32 %bad-parameters
  cmp_r14d,i8 ","
  jne8 @parameters-end
  call %next
  jmp8 @parameter
:parameters-end
  call %expect ")"
  pop_rax
  pop_rdx
  mov_ecx,[d32] parameters
  mov_ebx,[d32] types
  test_edx,edx
  je8 @function-new
  cmp_cl,[rax+d8] its-count
  jne32 %bad-again
  cmp_ebx,[rax+d8] its-types
  jne32 %bad-again
:function-new
  mov_[d32],eax function
  mov_[rax+d8],cl its-count
  mov_[rax+d8],ebx its-types

  # parameter i is at 16+8(n-1-i)
  mov_edx,[d32] scope
  lea_ecx,[rcx*8+d32] 4:8
:parameter-place
  cmp_edx,r12d
  je8 @parameters-placed
  mov_[rdx+d8],ecx its-value
  sub_ecx,i8 1:8
  add_edx,i8 1:32
  jmp8 @parameter-place
:parameters-placed

  mov_edx,[rax]           # its-name
  cmp_dword[rax+d8],i32 its-length 4:4
  jne8 @function-own
  cmp_dword[rdx],i32 "sys3"
  je32 %function-built-in
:function-own
  cmp_r14d,i8 ";"
  je32 %function-end
  cmp_r14d,i8 "{"
  jne32 %bad-body
  cmp_dword[rax+d8],i32 its-value 4:0
  jne32 %bad-double
  mov_[rax+d8],edi its-value
  cmp_dword[rax+d8],i32 its-length 4:5
  jne8 @function-calls
  cmp_dword[rdx],i32 "star"
  jne8 @function-calls
  cmp_byte[rdx+d8],i8 1:4 "t"
  jne8 @function-calls
  cmp_ebx,i32 long-argv
  jne32 %bad-start
  cmp_dword[rax+d8],i32 its-type long-type
  jne32 %bad-start
  push_rax
  mov_eax,[d32] start-calls
  call %patch
  mov_[d32],eax start-calls
  pop_rax
:function-calls
  push_rax
  mov_eax,[rax+d8] its-calls
  call %patch
  pop_rax
  xor_edx,edx
  mov_[rax+d8],edx its-calls
  mov_[d32],edx frame
  mov_[d32],edx frame-most
  call %emit 1:11 push_rbp mov_rbp,rsp sub_rsp,i32 4:0
  push_rdi                # behind the size of the frame, which is not known yet
  call %next
  call %block-rest
  pop_rdx
  mov_eax,[d32] frame-most
  mov_[rdx+d8],eax 1:-4
  mov_eax,[d32] function
  cmp_dword[rax+d8],i32 its-type void-type
  je8 @function-void
  call %emit 1:2 ud2      # nobody gets here without a result
  jmp8 @function-closed
:function-void
  call %emit 1:2 leave ret
  jmp8 @function-closed

:function-built-in        # sys3, whose last argument is at [rsp+8]
  cmp_ebx,i32 longs-4
  jne32 %bad-sys3
  cmp_dword[rax+d8],i32 its-type long-type
  jne32 %bad-sys3
  cmp_dword[rax+d8],i32 its-value 4:0
  jne8 @function-end      # not the first prototype
  mov_[rax+d8],edi its-value
  call %emit 1:10 mov_rax,[rsp+d8] 1:32 mov_rdi,[rsp+d8] 1:24
  call %emit 1:10 mov_rsi,[rsp+d8] 1:16 mov_rdx,[rsp+d8] 1:8
  call %emit 1:3 syscall ret

:function-end             # of a prototype
  call %expect ";"
:function-closed
  mov_r12d,[d32] scope    # drops the parameters
  mov_dword[d32],i32 scope symbols
  mov_dword[d32],i32 inside 4:0
  ret

# OUT

:finish
  cmp_dword[d32],i32 start-calls 4:0
  jne32 %bad-entry
  mov_ebx,i32 symbols
:finish-symbol            # does any call still wait?
  cmp_ebx,r12d
  je8 @finish-called
  cmp_byte[rbx+d8],i8 its-kind FUNCTION
  jne8 @finish-next
  mov_r13d,[rbx]          # its-name
  cmp_dword[rbx+d8],i32 its-calls 4:0
  jne32 %bad-undefined
:finish-next
  add_ebx,i8 1:32
  jmp8 @finish-symbol

:finish-called
  mov_ecx,edi             # zeros up to the next page, where the data goes
  neg_ecx
  and_ecx,i32 4:0xfff
  xor_eax,eax
  rep_stosb
  lea_eax,[rdi+d32] 4:-0xc00000   # less code
  mov_ebx,i32 code
  mov_[rbx+d8],eax 1:96   # p_filesz of the first segment
  mov_[rbx+d32],eax 4:128 # p_offset of the second
  mov_[rbx+d8],eax 1:104  # p_memsz of the first
  mov_ebp,[d32] data-end
  lea_eax,[rbp+d32] 4:-0x1000000  # less data
  mov_[rbx+d32],eax 4:152 # p_filesz of the second
  mov_eax,[d32] bss-end
  sub_eax,i32 4:0x800000  # where it begins
  mov_[rbx+d32],eax 4:160 # p_memsz of the second
  mov_r12d,edi

  mov_r13,[d32] out-name
  xor_edi,edi             # so that OUT has just the mode given below
  mov_eax,i32 4:95        # umask
  syscall
  mov_rdi,r13
  mov_esi,i32 4:0x241     # O_WRONLY 1, O_CREAT 0x40, O_TRUNC 0x200
  mov_edx,i32 4:0x1ed     # octal 755
  mov_eax,i32 4:2         # open
  syscall
  test_eax,eax
  js32 %bad-write
  mov_r14d,eax
  mov_esi,ebx
  mov_ebx,r12d
  call %write
  mov_esi,i32 data
  mov_ebx,ebp
  call %write
  mov_edi,r14d
  mov_eax,i32 4:3         # close
  syscall
  test_eax,eax
  js32 %bad-write
  xor_edi,edi
:exit                     # edi = status
  mov_eax,i32 4:60        # exit
  syscall

:write                    # the memory from rsi to rbx
  mov_edx,ebx
  sub_edx,esi
  je8 @written
  mov_edi,r14d
  mov_eax,i32 4:1         # write
  syscall
  test_eax,eax
  jle32 %bad-write
  add_esi,eax
  jmp8 @write
:written
  ret

# What OUT begins with: the headers, and the code that calls start

:head                     # ELF header, 64 bytes
  7f "ELF"                # e_ident: magic
  1:2 1:1 1:1             # e_ident: 64 bit, little endian, version 1
  1:0 8:0                 # e_ident: System V, padding
  2:2                     # e_type: executable at a fixed address
  2:62                    # e_machine: x86-64
  4:1                     # e_version
  8:0x4000b0              # e_entry: right behind the headers
  8:64                    # e_phoff
  8:0                     # e_shoff: no section headers
  4:0                     # e_flags
  2:64 2:56 2:2           # e_ehsize, e_phentsize, e_phnum
  2:0 2:0 2:0             # e_shentsize, e_shnum, e_shstrndx

  # program header of the first segment, 56 bytes
  4:1                     # p_type: load
  4:5                     # p_flags: read, execute
  8:0                     # p_offset
  8:0x400000              # p_vaddr
  8:0x400000              # p_paddr: unused
  8:0                     # p_filesz, at 96: filled in at the end
  8:0                     # p_memsz, at 104
  8:0x1000                # p_align

  # program header of the second segment, 56 bytes
  4:1                     # p_type: load
  4:6                     # p_flags: read, write
  8:0                     # p_offset, at 128
  8:0x800000              # p_vaddr
  8:0x800000              # p_paddr: unused
  8:0                     # p_filesz, at 152
  8:0                     # p_memsz, at 160
  8:0x1000                # p_align

  # at first the stack holds argc, argv[0], argv[1], ...
  mov_rax,[rsp]
  lea_rcx,[rsp+d8] 1:8
  push_rax
  push_rcx
  call 4:0                # start
  mov_edi,eax
  mov_eax,i32 4:60        # exit
  syscall
:head-end

# Tables

:keywords                 # length, token, text
  1:4 LONG "long"
  1:4 CHAR "char"
  1:4 VOID "void"
  1:6 STRUCT "struct"
  1:4 ENUM "enum"
  1:2 IF "if"
  1:4 ELSE "else"
  1:5 WHILE "while"
  1:3 FOR "for"
  1:5 BREAK "break"
  1:8 CONTINUE "continue"
  1:6 RETURN "return"
  1:6 SIZEOF "sizeof"
  1:4 FOREIGN "auto"
  1:4 FOREIGN "case"
  1:5 FOREIGN "const"
  1:7 FOREIGN "default"
  1:2 FOREIGN "do"
  1:6 FOREIGN "double"
  1:6 FOREIGN "extern"
  1:5 FOREIGN "float"
  1:4 FOREIGN "goto"
  1:6 FOREIGN "inline"
  1:3 FOREIGN "int"
  1:8 FOREIGN "register"
  1:8 FOREIGN "restrict"
  1:5 FOREIGN "short"
  1:6 FOREIGN "signed"
  1:6 FOREIGN "static"
  1:6 FOREIGN "switch"
  1:7 FOREIGN "typedef"
  1:5 FOREIGN "union"
  1:8 FOREIGN "unsigned"
  1:8 FOREIGN "volatile"
  1:5 FOREIGN "_Bool"
  1:8 FOREIGN "_Complex"
  1:10 FOREIGN "_Imaginary"
  1:0

:pairs                    # two characters, token
  "==" EQUAL
  "!=" UNEQUAL
  "<=" AT-MOST
  ">=" AT-LEAST
  "<<" SHIFT-LEFT
  ">>" SHIFT-RIGHT
  "&&" BOTH
  "||" EITHER
  "->" ARROW
  "++" FOREIGN
  "--" FOREIGN
  "+=" FOREIGN
  "-=" FOREIGN
  "*=" FOREIGN
  "/=" FOREIGN
  "%=" FOREIGN
  "&=" FOREIGN
  "|=" FOREIGN
  "^=" FOREIGN
  1:0

:singles
  "+-*/%<>=!&|^~()[]{},;" 00

:operators                # token, precedence, class, length of the code, code; for
                          # the classes see combine, but && and || have none
  EITHER      1:1  "o" 1:2 jne32
  BOTH        1:2  "a" 1:2 je32
  "|"         1:3  "*" 1:3 or_rax,rcx
  "^"         1:4  "*" 1:3 xor_rax,rcx
  "&"         1:5  "&" 1:3 and_rax,rcx
  EQUAL       1:6  "=" 1:9 cmp_rax,rcx sete_al movzx_eax,al
  UNEQUAL     1:6  "=" 1:9 cmp_rax,rcx setne_al movzx_eax,al
  "<"         1:7  "<" 1:9 cmp_rax,rcx setl_al movzx_eax,al
  AT-MOST     1:7  "<" 1:9 cmp_rax,rcx setle_al movzx_eax,al
  ">"         1:7  "<" 1:9 cmp_rax,rcx setg_al movzx_eax,al
  AT-LEAST    1:7  "<" 1:9 cmp_rax,rcx setge_al movzx_eax,al
  SHIFT-LEFT  1:8  "l" 1:3 shl_rax,cl
  SHIFT-RIGHT 1:8  "r" 1:3 sar_rax,cl
:plus
  "+"         1:9  "+" 1:3 add_rax,rcx
  "-"         1:9  "-" 1:3 sub_rax,rcx
  "*"         1:10 "*" 1:4 imul_rax,rcx
  "/"         1:10 "/" 1:5 cqo idiv_rcx
  "%"         1:10 "/" 1:8 cqo idiv_rcx mov_rax,rdx
  1:0

# Errors. The call leaves the address of the message behind it on the stack.

:bad-usage
  call %fail "cca: usage: " 00
:bad-read
  call %fail "cca: can not read: " 00
:bad-write
  call %fail "cca: can not write: " 00
:bad-size
  call %fail "cca: too big: " 00

:bad-code
  call %fail-at "too much code: " 00
:bad-data
  call %fail-at "too much data: " 00
:bad-bss
  call %fail-at "too many bytes of variables: " 00
:bad-frame
  call %fail-at "too many bytes of locals: " 00
:bad-symbols
  call %fail-at "too many names: " 00
:bad-depth
  call %fail-at "nested too deeply: " 00
:bad-elements
  call %fail-at "too many initial values: " 00
:bad-parameters
  call %fail-at "more than 8 parameters before: " 00
:bad-comment
  call %fail-at "comment without end: " 00
:bad-splice
  call %fail-at "comment that ends with a backslash: " 00
:bad-character
  call %fail-at "unknown character: " 00
:bad-literal
  call %fail-at "bad character or string: " 00
:bad-number
  call %fail-at "bad number: " 00
:bad-name
  call %fail-at "name of more than 60 bytes: " 00
:bad-foreign
  call %fail-at "not in this language: " 00
:bad-nameless
  call %fail-at "name expected: " 00
:bad-type
  call %fail-at "type expected: " 00
:bad-stars
  call %fail-at "pointer of more than 255 stars: " 00
:bad-void
  call %fail-at "pointer to void: " 00
:bad-variable
  call %fail-at "must be a long, a char or a pointer: " 00
:bad-char
  call %fail-at "a member must be a long or a pointer: " 00
:bad-struct
  call %fail-at "unknown struct: " 00
:bad-size-of
  call %fail-at "has no size, before: " 00
:bad-double
  call %fail-at "defined twice: " 00
:bad-again
  call %fail-at "not as declared before: " 00
:bad-unknown
  call %fail-at "unknown name: " 00
:bad-member
  call %fail-at "not a pointer to the struct of this member: " 00
:bad-expression
  call %fail-at "expression expected: " 00
:bad-value
  call %fail-at "no value, before: " 00
:bad-integer
  call %fail-at "not for pointers, before: " 00
:bad-pointer
  call %fail-at "not a pointer, before: " 00
:bad-difference
  call %fail-at "pointers of two types, before: " 00
:bad-unsigned
  call %fail-at "cast to long what has no sign in C, before: " 00
:bad-shift
  call %fail-at "shifted too far, before: " 00
:bad-division
  call %fail-at "division by zero, before: " 00
:bad-overflow
  call %fail-at "number too large, before: " 00
:bad-constant
  call %fail-at "not constant, before: " 00
:bad-dimension
  call %fail-at "bad size of an array, before: " 00
:bad-target
  call %fail-at "can not be assigned to, before: " 00
:bad-address
  call %fail-at "has no address, before: " 00
:bad-arguments
  call %fail-at "wrong number of arguments, before: " 00
:bad-loop
  call %fail-at "not in a loop: " 00
:bad-body
  call %fail-at "; or { expected: " 00
:bad-sys3
  call %fail-at "not long sys3(long number, long a, long b, long c): " 00
:bad-start
  call %fail-at "not long start(long argc, char **argv): " 00
:bad-entry
  call %fail-at "no function start" 00
:bad-undefined
  call %fail-at "called but not defined: " 00

:fail-at                  # prints file and line of r13, and all that fail prints
  mov_ebx,i32 ins
:fail-file
  add_ebx,i8 1:16
  cmp_[rbx+d8],r13d 1:8
  jbe8 @fail-file         # the next text does not begin behind the token
  mov_rsi,[rbx+d8] 1:-16
  call %print
  mov_esi,[rbx+d8] 1:-8
  mov_ecx,i32 4:1         # the line
:fail-line
  cmp_esi,r13d
  je8 @fail-number
  lodsb
  cmp_al,i8 0a
  jne8 @fail-line
  inc_ecx
  jmp8 @fail-line
:fail-number
  mov_eax,ecx
  mov_esi,i32 $digits-end
  mov_ecx,i32 4:10
:fail-digit
  xor_edx,edx
  div_ecx
  add_dl,i8 "0"
  dec_esi
  mov_[rsi],dl
  test_eax,eax
  jne8 @fail-digit
  dec_esi
  mov_byte[rsi],i8 ":"
  call %print

:fail                     # prints the message, what r13 shows, and LF
  pop_rsi
  call %print
  mov_rsi,r13
  call %print
  mov_esi,i32 $line-feed
  mov_edx,i32 4:1
  call %print-bytes
  mov_edi,i32 4:1
  jmp32 %exit

:print                    # the bytes at rsi that are 0x20 or more
  xor_edx,edx
:print-length
  cmp_byte[rsi+rdx],i8 1:0x20
  jb8 @print-bytes
  inc_edx
  jmp8 @print-length
:print-bytes              # edx bytes
  mov_edi,i32 4:2         # standard error
  mov_eax,i32 4:1         # write
  syscall
  ret

:usage
  "cca OUT IN..." 00
:expected
  "? expected: " 00
:digits
  "        "              # ":" and up to 7 digits
:digits-end
  ": " 00
:line-feed
  0a
:end-of-file
