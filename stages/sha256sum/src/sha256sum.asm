# sha256sum: prints or checks SHA-256 digests (FIPS 180-4).
#
#   sha256sum [FILE]...      prints "DIGEST  FILE" for each FILE
#   sha256sum -c [LIST]...   reads such lines from each LIST, prints "FILE: OK" or
#                            "FILE: FAILED" for each
#
# "-" is standard input, and so is no FILE or LIST at all. "-c" counts as the
# first argument only. A FILE that can not be read and a line that is not of this
# form give a message and the rest is still done. The exit status is 0 if all went
# well and every digest was right, else 1; a LIST without a line is not well.
# Names are printed as they are, also those with an LF or a backslash in them.
#
# Needs amd64.asm, elf.asm before it. For the whole run rbp is the next argument.
# System calls keep all registers but rax (the result), rcx and r11.

# Memory: the addresses of what changes, all zero at first
=status   4:0x500000      # 4 bytes: the exit status
=file     4:0x500008      # 4 bytes: the file that is being read
=total    4:0x500010      # 8 bytes: bytes read from it
=list     4:0x500018      # 8 bytes: name of the LIST
=hash     4:0x500040      # 32 bytes: the hash of the blocks so far
=words    4:0x500100      # 256 bytes: the message schedule of one block
=words-16 4:0x500140      # its word 16
=words-64 4:0x500200      # its end
=line     4:0x501000      # 8 kB: a line to print
=line-64  4:0x501040      # the same, behind the digest
=block    4:0x510000      # 64 kB: blocks, and room for the padding of the last
=blocks   4:0x520000      # where full blocks end
=text     4:0x600000      # the text of a LIST
=text-end 4:0x1300000     # 13 MB

# Arguments

:start
  lea_rbp,[rsp+d8] 1:16   # argv[1]
  mov_rdi,[rbp+d8] 1:0
  test_rdi,rdi
  je8 @input              # no arguments
  cmp_word[rdi],i16 "-c"
  jne8 @files
  cmp_byte[rdi+d8],i8 1:2 1:0
  je8 @lists

:files
  mov_rdi,[rbp+d8] 1:0
  test_rdi,rdi
  je8 @done
  add_rbp,i8 1:8
  call %print-sum
  jmp8 @files

:input
  mov_edi,i32 $dash
  call %print-sum
  jmp8 @done

:lists
  add_rbp,i8 1:8
  mov_rdi,[rbp+d8] 1:0
  test_rdi,rdi
  jne8 @list-next
  mov_edi,i32 $dash
  call %check-list
  jmp8 @done
:list-next
  call %check-list
  add_rbp,i8 1:8
  mov_rdi,[rbp+d8] 1:0
  test_rdi,rdi
  jne8 @list-next

:done
  mov_edi,[d32] status
:exit                     # edi = status
  mov_eax,i32 4:60        # exit
  syscall

# Digests of files

:print-sum                # rdi = name of the file
  push_rdi
  call %sum
  pop_rsi
  test_eax,eax
  js8 @print-sum-end
  mov_edi,i32 line-64
  mov_ax,i16 "  "
  stosw
  call %copy
  mov_al,i8 0a
  stosb
  call %print
:print-sum-end
  ret

:sum                      # line = digest of the file with the name rdi, eax = 0;
  push_rdi                # or a message is out and eax is negative
  call %open
  pop_rdi
  test_eax,eax
  js32 %complain
  push_rdi
  call %hash-file
  push_rax
  call %close
  pop_rax
  pop_rdi
  test_eax,eax
  js32 %complain
  push_rdi
  call %hex
  pop_rdi
  xor_eax,eax
  ret

# Checking

:check-list               # rdi = name of the LIST
  mov_[d32],rdi list
  call %open
  test_eax,eax
  js8 @list-unread
  mov_esi,i32 text
  mov_ebx,i32 text-end
  call %fill
  push_rax
  call %close
  pop_rax
  test_eax,eax
  js8 @list-unread
  cmp_esi,ebx
  je8 @list-unread        # too long
  cmp_esi,i32 text
  je8 @list-bad           # empty
  mov_byte[rsi],i8 0a     # the last line may end without LF
  mov_ebx,esi             # ebx = end of the text
  mov_esi,i32 text
:check-lines
  push_rbx
  call %check-line
  pop_rbx
  cmp_esi,ebx
  jb8 @check-lines
  ret
:list-unread
  mov_rdi,[d32] list
  jmp32 %complain
:list-bad
  mov_rdi,[d32] list
  mov_esi,i32 $bad-list
  jmp32 %complain-so

# check-line checks the file that the line at rsi names. rsi = the next line.
:check-line
  mov_ebx,esi             # ebx = this line
:line-length
  lodsb
  cmp_al,i8 0a
  jne8 @line-length
  push_rsi
  mov_byte[rsi+d8],i8 1:-1 1:0   # ends the name
  lea_eax,[rbx+d8] 1:67   # digest, two characters, a name of at least one byte,
  cmp_esi,eax             # and the LF
  jbe8 @line-bad
  cmp_byte[rbx+d8],i8 1:64 " "
  jne8 @line-bad
  cmp_byte[rbx+d8],i8 1:65 " "
  je8 @line-good
  cmp_byte[rbx+d8],i8 1:65 "*"
  jne8 @line-bad
:line-good
  push_rbx
  lea_edi,[rbx+d8] 1:66
  call %sum
  pop_rbx
  test_eax,eax
  js8 @line-end
  push_rbx
  mov_esi,i32 line
  mov_ecx,i32 4:64
:compare
  lodsb
  mov_dl,[rbx]
  inc_ebx
  cmp_dl,i8 "0"
  jb8 @compared
  or_dl,i8 1:0x20         # A-F become a-f, 0-9 stay
  cmp_al,dl
  jne8 @compared
  dec_ecx
  jne8 @compare
:compared                 # ecx = 0 if all are equal
  pop_rbx
  lea_esi,[rbx+d8] 1:66
  mov_edi,i32 line
  call %copy
  mov_esi,i32 $ok
  test_ecx,ecx
  je8 @verdict
  mov_dword[d32],i32 status 4:1
  mov_esi,i32 $failed
:verdict
  call %copy
  call %print
:line-end
  pop_rsi
  ret
:line-bad
  mov_rdi,[d32] list
  mov_esi,i32 $bad-list
  call %complain-so
  pop_rsi
  ret

# Files and messages

:open                     # eax = file = the one with the name rdi; or negative
  xor_eax,eax             # standard input
  cmp_word[rdi],i16 "-" 00
  je8 @opened
  mov_eax,i32 4:2         # open
  xor_esi,esi             # O_RDONLY
  syscall
:opened
  mov_[d32],eax file
  ret

:close                    # the file fd, but not standard input, which may come again
  mov_edi,[d32] file
  test_edi,edi
  je8 @closed
  mov_eax,i32 4:3         # close
  syscall
:closed
  ret

# fill reads from fd into the memory from rsi to rbx. esi = the end of what was
# read, which is rbx unless the file has ended. eax is negative after an error.
:fill
  xor_eax,eax
  mov_edx,ebx
  sub_edx,esi
  je8 @filled
  mov_edi,[d32] file
  syscall                 # read
  test_eax,eax
  jle8 @filled
  add_esi,eax
  jmp8 @fill
:filled
  ret

:copy                     # the bytes at rsi up to 0 go to rdi
  lodsb
  test_al,al
  je8 @copied
  stosb
  jmp8 @copy
:copied
  ret

:print                    # line, up to rdi, on standard output
  mov_ebx,edi
  mov_esi,i32 line
:print-rest
  mov_edx,ebx
  sub_edx,esi
  je8 @printed
  mov_edi,i32 4:1         # standard output
  mov_eax,i32 4:1         # write
  syscall
  add_esi,eax
  test_eax,eax
  jg8 @print-rest
  mov_edi,i32 $output
  mov_esi,i32 $unwritable
  call %complain-so
  jmp32 %done             # with status 1, set by complain-so
:printed
  ret

:complain                 # rdi = name of a file; eax = -1
  mov_esi,i32 $unreadable
:complain-so              # the same, esi = what is wrong with it
  push_rsi
  push_rdi
  mov_esi,i32 $program
  call %say
  pop_rsi
  call %say
  pop_rsi
  call %say
  mov_dword[d32],i32 status 4:1
  or_eax,i8 1:-1
  ret

:say                      # the bytes at rsi up to 0, on standard error
  xor_edx,edx
:say-length
  cmp_byte[rsi+rdx],i8 1:0
  je8 @say-bytes
  inc_edx
  jmp8 @say-length
:say-bytes
  mov_edi,i32 4:2         # standard error
  mov_eax,i32 4:1         # write
  syscall
  ret

# SHA-256

# hash-file sets hash to that of the file fd. eax is negative after an error.
:hash-file
  mov_esi,i32 $initial
  mov_edi,i32 hash
  mov_ecx,i32 4:8
  rep_movsd
  xor_eax,eax
  mov_[d32],rax total
:hash-more
  mov_esi,i32 block
  mov_ebx,i32 blocks
  call %fill
  test_eax,eax
  js8 @hash-end
  lea_eax,[rsi+d32] 4:-0x510000   # less block
  add_[d32],rax total
  cmp_esi,ebx
  jne8 @hash-last
  call %hash-blocks
  jmp8 @hash-more
:hash-last                # the padding: 0x80, zeros, and the length in bits
  mov_edi,esi
  mov_al,i8 80
  stosb
  xor_eax,eax
  mov_ecx,i32 4:72
  rep_stosb
  lea_ebx,[rsi+d8] 1:72   # 1 + 8 bytes, and up to 63 to fill the block
  and_ebx,i8 1:-64
  mov_rax,[d32] total
  shl_rax,i8 1:3
  bswap_rax
  mov_[rbx+d8],rax 1:-8
  call %hash-blocks
  xor_eax,eax
:hash-end
  ret

:hash-blocks              # adds the blocks up to ebx to hash
  mov_esi,i32 block
:hash-block
  push_rbx

  # the schedule: 16 words of the block, high byte first, ...
  mov_edi,i32 words
  mov_ecx,i32 4:16
:swap
  lodsd
  bswap_eax
  stosd
  dec_ecx
  jne8 @swap
  push_rsi

  # ... and 48 more: w[i] = w[i-16] + s0(w[i-15]) + w[i-7] + s1(w[i-2])
  mov_edi,i32 words-16
:extend
  mov_eax,[rdi+d8] 1:-60
  mov_ebx,eax
  mov_edx,eax
  ror_eax,i8 1:7
  ror_ebx,i8 1:18
  shr_edx,i8 1:3
  xor_eax,ebx
  xor_eax,edx             # s0(w[i-15])
  mov_ecx,eax
  mov_eax,[rdi+d8] 1:-8
  mov_ebx,eax
  mov_edx,eax
  ror_eax,i8 1:17
  ror_ebx,i8 1:19
  shr_edx,i8 1:10
  xor_eax,ebx
  xor_eax,edx             # s1(w[i-2])
  add_eax,ecx
  add_eax,[rdi+d8] 1:-28
  add_eax,[rdi+d8] 1:-64
  stosd
  cmp_edi,i32 words-64
  jne8 @extend

  # a = r8d, b = r9d, ... h = r15d
  mov_ebx,i32 hash
  mov_r8d,[rbx+d8] 1:0
  mov_r9d,[rbx+d8] 1:4
  mov_r10d,[rbx+d8] 1:8
  mov_r11d,[rbx+d8] 1:12
  mov_r12d,[rbx+d8] 1:16
  mov_r13d,[rbx+d8] 1:20
  mov_r14d,[rbx+d8] 1:24
  mov_r15d,[rbx+d8] 1:28
  xor_esi,esi             # 4 times the number of the round
:round
  # h += S1(e) + ch(e, f, g) + k[i] + w[i]
  mov_eax,r12d
  ror_eax,i8 1:6
  mov_ebx,r12d
  ror_ebx,i8 1:11
  xor_eax,ebx
  ror_ebx,i8 1:14         # 25 in all
  xor_eax,ebx
  add_r15d,eax
  mov_eax,r13d
  xor_eax,r14d
  and_eax,r12d
  xor_eax,r14d            # f where e is 1, g where it is 0
  add_r15d,eax
  add_r15d,[rsi+d32] $k
  add_r15d,[rsi+d32] words
  # d += h
  add_r11d,r15d
  # h += S0(a) + maj(a, b, c)
  mov_eax,r8d
  ror_eax,i8 1:2
  mov_ebx,r8d
  ror_ebx,i8 1:13
  xor_eax,ebx
  ror_ebx,i8 1:9          # 22 in all
  xor_eax,ebx
  add_r15d,eax
  mov_eax,r8d
  or_eax,r9d
  and_eax,r10d
  mov_ebx,r8d
  and_ebx,r9d
  or_eax,ebx              # what two of the three say
  add_r15d,eax
  # h becomes a, and each other letter the next
  mov_eax,r15d
  mov_r15d,r14d
  mov_r14d,r13d
  mov_r13d,r12d
  mov_r12d,r11d
  mov_r11d,r10d
  mov_r10d,r9d
  mov_r9d,r8d
  mov_r8d,eax
  add_esi,i8 1:4
  cmp_esi,i32 4:256
  jne32 %round

  mov_ebx,i32 hash
  add_[rbx+d8],r8d 1:0
  add_[rbx+d8],r9d 1:4
  add_[rbx+d8],r10d 1:8
  add_[rbx+d8],r11d 1:12
  add_[rbx+d8],r12d 1:16
  add_[rbx+d8],r13d 1:20
  add_[rbx+d8],r14d 1:24
  add_[rbx+d8],r15d 1:28
  pop_rsi
  pop_rbx
  cmp_esi,ebx
  jne32 %hash-block
  ret

:hex                      # line = the 64 hex digits of hash
  mov_esi,i32 hash
  mov_edi,i32 line
:hex-word
  lodsd
  mov_ecx,i32 4:8
:hex-digit
  rol_eax,i8 1:4          # the highest digit first
  mov_edx,eax
  and_edx,i8 1:15
  mov_dl,[rdx+d32] $digits
  mov_[rdi],dl
  inc_edi
  dec_ecx
  jne8 @hex-digit
  cmp_edi,i32 line-64
  jne8 @hex-word
  ret

:initial                  # the first 32 bits of the fractions of the square roots of
                          # the first 8 primes
  4:0x6a09e667 4:0xbb67ae85 4:0x3c6ef372 4:0xa54ff53a
  4:0x510e527f 4:0x9b05688c 4:0x1f83d9ab 4:0x5be0cd19
:k                        # the same of the cube roots of the first 64 primes
  4:0x428a2f98 4:0x71374491 4:0xb5c0fbcf 4:0xe9b5dba5
  4:0x3956c25b 4:0x59f111f1 4:0x923f82a4 4:0xab1c5ed5
  4:0xd807aa98 4:0x12835b01 4:0x243185be 4:0x550c7dc3
  4:0x72be5d74 4:0x80deb1fe 4:0x9bdc06a7 4:0xc19bf174
  4:0xe49b69c1 4:0xefbe4786 4:0x0fc19dc6 4:0x240ca1cc
  4:0x2de92c6f 4:0x4a7484aa 4:0x5cb0a9dc 4:0x76f988da
  4:0x983e5152 4:0xa831c66d 4:0xb00327c8 4:0xbf597fc7
  4:0xc6e00bf3 4:0xd5a79147 4:0x06ca6351 4:0x14292967
  4:0x27b70a85 4:0x2e1b2138 4:0x4d2c6dfc 4:0x53380d13
  4:0x650a7354 4:0x766a0abb 4:0x81c2c92e 4:0x92722c85
  4:0xa2bfe8a1 4:0xa81a664b 4:0xc24b8b70 4:0xc76c51a3
  4:0xd192e819 4:0xd6990624 4:0xf40e3585 4:0x106aa070
  4:0x19a4c116 4:0x1e376c08 4:0x2748774c 4:0x34b0bcb5
  4:0x391c0cb3 4:0x4ed8aa4a 4:0x5b9cca4f 4:0x682e6ff3
  4:0x748f82ee 4:0x78a5636f 4:0x84c87814 4:0x8cc70208
  4:0x90befffa 4:0xa4506ceb 4:0xbef9a3f7 4:0xc67178f2

:digits
  "0123456789abcdef"
:dash
  "-" 00
:program
  "sha256sum: " 00
:unreadable
  ": can not be read" 0a 00
:unwritable
  ": can not be written" 0a 00
:bad-list
  ": not a list of digests" 0a 00
:output
  "standard output" 00
:ok
  ": OK" 0a 00
:failed
  ": FAILED" 0a 00
:end-of-file
