# Mnemonics of x86-64 for asm, as far as our programs use them.
#
# A macro is an instruction in Intel order, destination before source. What its
# name leaves open follows it in the text:
#
#   i8 i16 i32    an immediate value of so many bits: "cmp_al,i8 1:10"
#   d8 d32        a displacement of so many bits: "mov_eax,[rsi+d8] 1:-4"
#   je8 je32      a jump over a distance of so many bits: "je8 @end", "je32 %end"
#   call          always 32 bits: "call %print"
#
# With both, the displacement comes first. The size of an operand in memory is
# part of the name when no register gives it away: "cmp_byte[rsi],i8".

=add_[d32],rax            48 01 04 25
=add_[rbx+d8],r10d        44 01 53
=add_[rbx+d8],r11d        44 01 5b
=add_[rbx+d8],r12d        44 01 63
=add_[rbx+d8],r13d        44 01 6b
=add_[rbx+d8],r14d        44 01 73
=add_[rbx+d8],r15d        44 01 7b
=add_[rbx+d8],r8d         44 01 43
=add_[rbx+d8],r9d         44 01 4b
=add_eax,[rdi+d8]         03 47
=add_eax,ecx              01 c8
=add_esi,eax              01 c6
=add_esi,i8               83 c6
=add_r11d,r15d            45 01 fb
=add_r15d,[rsi+d32]       44 03 be
=add_r15d,eax             41 01 c7
=add_rbp,i8               48 83 c5

=and_eax,r10d             44 21 d0
=and_eax,r12d             44 21 e0
=and_ebx,i8               83 e3
=and_ebx,r9d              44 21 cb
=and_edx,i8               83 e2

=bswap_eax                0f c8
=bswap_rax                48 0f c8

=call                     e8

=cmp_al,dl                38 d0
=cmp_al,i8                3c
=cmp_byte[rbx+d8],i8      80 7b
=cmp_byte[rdi+d8],i8      80 7f
=cmp_byte[rsi+rdx],i8     80 3c 16
=cmp_dl,i8                80 fa
=cmp_edi,i32              81 ff
=cmp_esi,eax              39 c6
=cmp_esi,ebx              39 de
=cmp_esi,i32              81 fe
=cmp_word[rdi],i16        66 81 3f

=dec_ecx                  ff c9

=inc_ebx                  ff c3
=inc_edi                  ff c7
=inc_edx                  ff c2

=jb8                      72

=jbe8                     76

=je8                      74

=jg8                      7f

=jle8                     7e

=jmp32                    e9
=jmp8                     eb

=jne32                    0f 85
=jne8                     75

=js32                     0f 88
=js8                      78

=lea_eax,[rbx+d8]         8d 43
=lea_eax,[rsi+d32]        8d 86
=lea_ebx,[rsi+d8]         8d 5e
=lea_edi,[rbx+d8]         8d 7b
=lea_esi,[rbx+d8]         8d 73
=lea_rbp,[rsp+d8]         48 8d 6c 24

=lodsb                    ac

=lodsd                    ad

=mov_[d32],eax            89 04 25
=mov_[d32],rax            48 89 04 25
=mov_[d32],rdi            48 89 3c 25
=mov_[rbx+d8],rax         48 89 43
=mov_[rdi],dl             88 17
=mov_al,i8                b0
=mov_ax,i16               66 b8
=mov_byte[rsi+d8],i8      c6 46
=mov_byte[rsi],i8         c6 06
=mov_dl,[rbx]             8a 13
=mov_dl,[rdx+d32]         8a 92
=mov_dword[d32],i32       c7 04 25
=mov_eax,[rdi+d8]         8b 47
=mov_eax,i32              b8
=mov_eax,r12d             44 89 e0
=mov_eax,r13d             44 89 e8
=mov_eax,r15d             44 89 f8
=mov_eax,r8d              44 89 c0
=mov_ebx,eax              89 c3
=mov_ebx,edi              89 fb
=mov_ebx,esi              89 f3
=mov_ebx,i32              bb
=mov_ebx,r12d             44 89 e3
=mov_ebx,r8d              44 89 c3
=mov_ecx,eax              89 c1
=mov_ecx,i32              b9
=mov_edi,[d32]            8b 3c 25
=mov_edi,esi              89 f7
=mov_edi,i32              bf
=mov_edx,eax              89 c2
=mov_edx,ebx              89 da
=mov_esi,i32              be
=mov_r10d,[rbx+d8]        44 8b 53
=mov_r10d,r9d             45 89 ca
=mov_r11d,[rbx+d8]        44 8b 5b
=mov_r11d,r10d            45 89 d3
=mov_r12d,[rbx+d8]        44 8b 63
=mov_r12d,r11d            45 89 dc
=mov_r13d,[rbx+d8]        44 8b 6b
=mov_r13d,r12d            45 89 e5
=mov_r14d,[rbx+d8]        44 8b 73
=mov_r14d,r13d            45 89 ee
=mov_r15d,[rbx+d8]        44 8b 7b
=mov_r15d,r14d            45 89 f7
=mov_r8d,[rbx+d8]         44 8b 43
=mov_r8d,eax              41 89 c0
=mov_r9d,[rbx+d8]         44 8b 4b
=mov_r9d,r8d              45 89 c1
=mov_rax,[d32]            48 8b 04 25
=mov_rdi,[d32]            48 8b 3c 25
=mov_rdi,[rbp+d8]         48 8b 7d

=or_dl,i8                 80 ca
=or_eax,ebx               09 d8
=or_eax,i8                83 c8
=or_eax,r9d               44 09 c8

=pop_rax                  58
=pop_rbx                  5b
=pop_rdi                  5f
=pop_rsi                  5e

=push_rax                 50
=push_rbx                 53
=push_rdi                 57
=push_rsi                 56

=rep_movsd                f3 a5
=rep_stosb                f3 aa

=ret                      c3

=rol_eax,i8               c1 c0

=ror_eax,i8               c1 c8
=ror_ebx,i8               c1 cb

=shl_rax,i8               48 c1 e0

=shr_edx,i8               c1 ea

=stosb                    aa

=stosd                    ab

=stosw                    66 ab

=sub_edx,esi              29 f2

=syscall                  0f 05

=test_al,al               84 c0
=test_eax,eax             85 c0
=test_ecx,ecx             85 c9
=test_edi,edi             85 ff
=test_rdi,rdi             48 85 ff

=xor_eax,eax              31 c0
=xor_eax,ebx              31 d8
=xor_eax,edx              31 d0
=xor_eax,r14d             44 31 f0
=xor_edx,edx              31 d2
=xor_esi,esi              31 f6
