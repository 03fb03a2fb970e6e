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
# part of the name when no register gives it away: "cmp_byte[rsi],i8",
# "movzx_eax,byte[rsi]".

=add_[d32],rax            48 01 04 25
=add_[rbx+d8],r10d        44 01 53
=add_[rbx+d8],r11d        44 01 5b
=add_[rbx+d8],r12d        44 01 63
=add_[rbx+d8],r13d        44 01 6b
=add_[rbx+d8],r14d        44 01 73
=add_[rbx+d8],r15d        44 01 7b
=add_[rbx+d8],r8d         44 01 43
=add_[rbx+d8],r9d         44 01 4b
=add_dl,i8                80 c2
=add_eax,[d32]            03 04 25
=add_eax,[rdi+d8]         03 47
=add_eax,ecx              01 c8
=add_eax,edx              01 d0
=add_eax,i32              05
=add_eax,i8               83 c0
=add_ebp,eax              01 c5
=add_ebx,i8               83 c3
=add_ecx,eax              01 c1
=add_ecx,ebx              01 d9
=add_edx,eax              01 c2
=add_edx,ecx              01 ca
=add_edx,i8               83 c2
=add_edx,r15d             44 01 fa
=add_esi,eax              01 c6
=add_esi,i8               83 c6
=add_r11d,r15d            45 01 fb
=add_r12d,i8              41 83 c4
=add_r15,rax              49 01 c7
=add_r15d,[rsi+d32]       44 03 be
=add_r15d,eax             41 01 c7
=add_r8,i8                49 83 c0
=add_rax,rcx              48 01 c8
=add_rbp,i8               48 83 c5
=add_rsp,i8               48 83 c4

=and_eax,i8               83 e0
=and_eax,r10d             44 21 d0
=and_eax,r12d             44 21 e0
=and_ebx,i8               83 e3
=and_ebx,r9d              44 21 cb
=and_ecx,i32              81 e1
=and_edx,i8               83 e2
=and_r8,i8                49 83 e0
=and_rax,rcx              48 21 c8

=bswap_eax                0f c8
=bswap_rax                48 0f c8

=call                     e8
=call_rdi                 ff d7

=clc                      f8

=cmp_[rax+d8],ecx         39 48
=cmp_[rax+d8],edx         39 50
=cmp_[rbx+d8],r13d        44 39 6b
=cmp_[rdx+d8],ebx         39 5a
=cmp_al,[rdx]             3a 02
=cmp_al,[rsp]             3a 04 24
=cmp_al,dl                38 d0
=cmp_al,i8                3c
=cmp_al,r14b              44 38 f0
=cmp_byte[r11+d8],i8      41 80 7b
=cmp_byte[rbx+d8],i8      80 7b
=cmp_byte[rdi+d8],i8      80 7f
=cmp_byte[rdx+d8],i8      80 7a
=cmp_byte[rdx],i8         80 3a
=cmp_byte[rsi+d8],i8      80 7e
=cmp_byte[rsi+rdx],i8     80 3c 16
=cmp_byte[rsi],i8         80 3e
=cmp_cl,[rax+d8]          3a 48
=cmp_cl,i8                80 f9
=cmp_cx,[rdx]             66 3b 0a
=cmp_dl,i8                80 fa
=cmp_dword[d32],i32       81 3c 25
=cmp_dword[r9+d8],i32     41 81 79
=cmp_dword[rax+d8],i32    81 78
=cmp_dword[rbx+d8],i32    81 7b
=cmp_dword[rdx],i32       81 3a
=cmp_eax,[d32]            3b 04 25
=cmp_eax,ebx              39 d8
=cmp_eax,ecx              39 c8
=cmp_eax,edx              39 d0
=cmp_eax,i32              3d
=cmp_eax,i8               83 f8
=cmp_eax,r14d             44 39 f0
=cmp_ebp,i8               83 fd
=cmp_ebx,[rax+d8]         3b 58
=cmp_ebx,edx              39 d3
=cmp_ebx,i32              81 fb
=cmp_ebx,r12d             44 39 e3
=cmp_ecx,eax              39 c1
=cmp_ecx,i32              81 f9
=cmp_ecx,i8               83 f9
=cmp_edi,i32              81 ff
=cmp_edx,i32              81 fa
=cmp_edx,r12d             44 39 e2
=cmp_esi,[d32]            3b 34 25
=cmp_esi,eax              39 c6
=cmp_esi,ebx              39 de
=cmp_esi,i32              81 fe
=cmp_esi,r13d             44 39 ee
=cmp_esi,r9d              44 39 ce
=cmp_r10d,i8              41 83 fa
=cmp_r12d,i32             41 81 fc
=cmp_r14d,i8              41 83 fe
=cmp_r8,i32               49 81 f8
=cmp_r8,i8                49 83 f8
=cmp_r8,rdx               49 39 d0
=cmp_rax,r8               4c 39 c0
=cmp_rax,rcx              48 39 c8
=cmp_rcx,rax              48 39 c1
=cmp_rsp,[d32]            48 3b 24 25
=cmp_word[rdi],i16        66 81 3f

=cqo                      48 99

=dec_ebx                  ff cb
=dec_ecx                  ff c9
=dec_edi                  ff cf
=dec_edx                  ff ca
=dec_esi                  ff ce
=dec_r13d                 41 ff cd

=div_ecx                  f7 f1

=idiv_rcx                 48 f7 f9

=imul_ecx,[d32],i8        6b 0c 25
=imul_edx,ecx             0f af d1
=imul_r15,r15,i8          4d 6b ff
=imul_r15d,r15d,i8        45 6b ff
=imul_r8,rcx              4c 0f af c1
=imul_r9,rcx              4c 0f af c9
=imul_rax,rax,i32         48 69 c0
=imul_rax,rcx             48 0f af c1

=inc_bl                   fe c3
=inc_dword[d32]           ff 04 25
=inc_dword[rsp]           ff 04 24
=inc_eax                  ff c0
=inc_ebp                  ff c5
=inc_ebx                  ff c3
=inc_ecx                  ff c1
=inc_edi                  ff c7
=inc_edx                  ff c2
=inc_esi                  ff c6
=inc_r8                   49 ff c0

=ja32                     0f 87
=ja8                      77

=jae32                    0f 83
=jae8                     73

=jb32                     0f 82
=jb8                      72

=jbe32                    0f 86
=jbe8                     76

=je32                     0f 84
=je8                      74

=jg8                      7f

=jle32                    0f 8e
=jle8                     7e

=jmp32                    e9
=jmp8                     eb
=jmp_rdx                  ff e2

=jne32                    0f 85
=jne8                     75

=jo32                     0f 80

=js32                     0f 88
=js8                      78

=lea_eax,[r14+d8]         41 8d 46
=lea_eax,[rbp+d32]        8d 85
=lea_eax,[rbx+d8]         8d 43
=lea_eax,[rdi+d32]        8d 87
=lea_eax,[rdi+d8]         8d 47
=lea_eax,[rdx+d32]        8d 82
=lea_eax,[rsi+d32]        8d 86
=lea_ebx,[rax+d8]         8d 58
=lea_ebx,[rsi+d8]         8d 5e
=lea_ecx,[rax+d8]         8d 48
=lea_ecx,[rcx*8+d32]      8d 0c cd
=lea_ecx,[rdi+d8]         8d 4f
=lea_edi,[rbx+d8]         8d 7b
=lea_edi,[rdx+d8]         8d 7a
=lea_edx,[rax+d32]        8d 90
=lea_edx,[rdi+d8]         8d 57
=lea_esi,[rbx+d8]         8d 73
=lea_r15d,[rdx+d32]       44 8d ba
=lea_rax,[rax+d32]        48 8d 80
=lea_rax,[rbp+d32]        48 8d 85
=lea_rax,[rip+d32]        48 8d 05
=lea_rax,[rsp+d32]        48 8d 84 24
=lea_rbp,[rsp+d8]         48 8d 6c 24
=lea_rcx,[rsp+d8]         48 8d 4c 24
=lea_rsi,[r11+d8]         49 8d 73

=leave                    c9

=lodsb                    ac

=lodsd                    ad

=mov_[d32],al             88 04 25
=mov_[d32],eax            89 04 25
=mov_[d32],ebp            89 2c 25
=mov_[d32],ecx            89 0c 25
=mov_[d32],edi            89 3c 25
=mov_[d32],edx            89 14 25
=mov_[d32],r12d           44 89 24 25
=mov_[d32],r8             4c 89 04 25
=mov_[d32],rax            48 89 04 25
=mov_[d32],rdi            48 89 3c 25
=mov_[r9+d8],edi          41 89 79
=mov_[rax+d8],cl          88 48
=mov_[rax+d8],ebx         89 58
=mov_[rax+d8],ecx         89 48
=mov_[rax+d8],edi         89 78
=mov_[rax+d8],edx         89 50
=mov_[rax+d8],r8          4c 89 40
=mov_[rax+d8],rcx         48 89 48
=mov_[rax+rcx*8],rdx      48 89 14 c8
=mov_[rax+rcx],dl         88 14 08
=mov_[rax],ecx            89 08
=mov_[rax],r13d           44 89 28
=mov_[rbp+d32],al         88 85
=mov_[rbp+d32],rax        48 89 85
=mov_[rbx+d32],eax        89 83
=mov_[rbx+d8],eax         89 43
=mov_[rbx+d8],rax         48 89 43
=mov_[rbx+d8],rbp         48 89 6b
=mov_[rbx],rdi            48 89 3b
=mov_[rcx],al             88 01
=mov_[rcx],rax            48 89 01
=mov_[rdi+d8],al          88 47
=mov_[rdi+d8],ecx         89 4f
=mov_[rdi],dl             88 17
=mov_[rdx+d8],eax         89 42
=mov_[rdx+d8],ecx         89 4a
=mov_[rdx],al             88 02
=mov_[rsi],dl             88 16
=mov_al,[rdi+d8]          8a 47
=mov_al,[rdx+d8]          8a 42
=mov_al,[rdx]             8a 02
=mov_al,[rsi]             8a 06
=mov_al,i8                b0
=mov_ax,[rdx+d8]          66 8b 42
=mov_ax,i16               66 b8
=mov_byte[rax+d8],i8      c6 40
=mov_byte[rbp+d8],i8      c6 45
=mov_byte[rdi+d8],i8      c6 47
=mov_byte[rdx+d8],i8      c6 42
=mov_byte[rsi+d8],i8      c6 46
=mov_byte[rsi],i8         c6 06
=mov_cl,[r11+d8]          41 8a 4b
=mov_cl,i8                b1
=mov_cx,[rsi+d8]          66 8b 4e
=mov_dl,[rax+d8]          8a 50
=mov_dl,[rbx]             8a 13
=mov_dl,[rdx+d32]         8a 92
=mov_dword[d32],i32       c7 04 25
=mov_dword[rax+d8],i32    c7 40
=mov_eax,[d32]            8b 04 25
=mov_eax,[r9+d8]          41 8b 41
=mov_eax,[rax+d8]         8b 40
=mov_eax,[rdi+d8]         8b 47
=mov_eax,ebx              89 d8
=mov_eax,ecx              89 c8
=mov_eax,edx              89 d0
=mov_eax,esi              89 f0
=mov_eax,i32              b8
=mov_eax,r12d             44 89 e0
=mov_eax,r13d             44 89 e8
=mov_eax,r15d             44 89 f8
=mov_eax,r8d              44 89 c0
=mov_ebp,[d32]            8b 2c 25
=mov_ebp,i32              bd
=mov_ebx,[d32]            8b 1c 25
=mov_ebx,[r9+d8]          41 8b 59
=mov_ebx,[rax+d8]         8b 58
=mov_ebx,eax              89 c3
=mov_ebx,ebp              89 eb
=mov_ebx,ecx              89 cb
=mov_ebx,edi              89 fb
=mov_ebx,edx              89 d3
=mov_ebx,esi              89 f3
=mov_ebx,i32              bb
=mov_ebx,r12d             44 89 e3
=mov_ebx,r8d              44 89 c3
=mov_ecx,[d32]            8b 0c 25
=mov_ecx,[rcx+d8]         8b 49
=mov_ecx,[rdi+d8]         8b 4f
=mov_ecx,eax              89 c1
=mov_ecx,ebx              89 d9
=mov_ecx,edi              89 f9
=mov_ecx,esi              89 f1
=mov_ecx,i32              b9
=mov_edi,[d32]            8b 3c 25
=mov_edi,[rax+d8]         8b 78
=mov_edi,eax              89 c7
=mov_edi,esi              89 f7
=mov_edi,i32              bf
=mov_edi,r12d             44 89 e7
=mov_edi,r14d             44 89 f7
=mov_edx,[d32]            8b 14 25
=mov_edx,[rax]            8b 10
=mov_edx,[rsp+d8]         8b 54 24
=mov_edx,[rsp]            8b 14 24
=mov_edx,eax              89 c2
=mov_edx,ebx              89 da
=mov_edx,ecx              89 ca
=mov_edx,i32              ba
=mov_esi,[rbx+d8]         8b 73
=mov_esi,ebp              89 ee
=mov_esi,ebx              89 de
=mov_esi,i32              be
=mov_esi,r13d             44 89 ee
=mov_r10d,[rbx+d8]        44 8b 53
=mov_r10d,r9d             45 89 ca
=mov_r11d,[rbx+d8]        44 8b 5b
=mov_r11d,i32             41 bb
=mov_r11d,r10d            45 89 d3
=mov_r12d,[d32]           44 8b 24 25
=mov_r12d,[rbx+d8]        44 8b 63
=mov_r12d,eax             41 89 c4
=mov_r12d,edi             41 89 fc
=mov_r12d,i32             41 bc
=mov_r12d,r11d            45 89 dc
=mov_r13,[d32]            4c 8b 2c 25
=mov_r13,rdi              49 89 fd
=mov_r13d,[rax]           44 8b 28
=mov_r13d,[rbx+d8]        44 8b 6b
=mov_r13d,[rbx]           44 8b 2b
=mov_r13d,esi             41 89 f5
=mov_r13d,i32             41 bd
=mov_r13d,r12d            45 89 e5
=mov_r14d,[rbx+d8]        44 8b 73
=mov_r14d,eax             41 89 c6
=mov_r14d,r13d            45 89 ee
=mov_r15,[rax+d8]         4c 8b 78
=mov_r15d,[rbx+d8]        44 8b 7b
=mov_r15d,r14d            45 89 f7
=mov_r8,[d32]             4c 8b 04 25
=mov_r8,r15               4d 89 f8
=mov_r8,rax               49 89 c0
=mov_r8d,[rbx+d8]         44 8b 43
=mov_r8d,eax              41 89 c0
=mov_r8d,ecx              41 89 c8
=mov_r9,r8                4d 89 c1
=mov_r9d,[rbx+d8]         44 8b 4b
=mov_r9d,esi              41 89 f1
=mov_r9d,r8d              45 89 c1
=mov_rax,[d32]            48 8b 04 25
=mov_rax,[rax]            48 8b 00
=mov_rax,[rsp+d8]         48 8b 44 24
=mov_rax,[rsp]            48 8b 04 24
=mov_rax,r9               4c 89 c8
=mov_rax,rdx              48 89 d0
=mov_rbp,rsp              48 89 e5
=mov_rcx,r15              4c 89 f9
=mov_rcx,r8               4c 89 c1
=mov_rcx,rax              48 89 c1
=mov_rdi,[d32]            48 8b 3c 25
=mov_rdi,[rbp+d8]         48 8b 7d
=mov_rdi,[rsp+d8]         48 8b 7c 24
=mov_rdi,r13              4c 89 ef
=mov_rdx,[rsp+d8]         48 8b 54 24
=mov_rsi,[rbx+d8]         48 8b 73
=mov_rsi,[rsp+d8]         48 8b 74 24
=mov_rsi,r13              4c 89 ee
=mov_word[rdi+d8],i16     66 c7 47

=movsx_r15,al             4c 0f be f8
=movsx_r8,r8b             4d 0f be c0
=movsx_rax,al             48 0f be c0
=movsx_rax,byte[rax]      48 0f be 00
=movsx_rax,r8b            49 0f be c0

=movsxd_rax,r8d           49 63 c0
=movsxd_rcx,eax           48 63 c8

=movzx_eax,al             0f b6 c0
=movzx_eax,byte[r9+d8]    41 0f b6 41
=movzx_eax,byte[rdx+d8]   0f b6 42
=movzx_eax,byte[rdx]      0f b6 02
=movzx_eax,byte[rsi]      0f b6 06
=movzx_ecx,byte[r11+d8]   41 0f b6 4b
=movzx_ecx,byte[rdx]      0f b6 0a
=movzx_r14d,byte[rdx+d8]  44 0f b6 72

=neg_eax                  f7 d8
=neg_ecx                  f7 d9
=neg_r8                   49 f7 d8
=neg_rax                  48 f7 d8

=not_r8                   49 f7 d0
=not_rax                  48 f7 d0

=or_al,i8                 0c
=or_dl,i8                 80 ca
=or_eax,ebx               09 d8
=or_eax,i8                83 c8
=or_eax,r9d               44 09 c8
=or_ecx,i8                83 c9
=or_r15,rax               49 09 c7
=or_rax,rcx               48 09 c8

=pop_r10                  41 5a
=pop_r11                  41 5b
=pop_r12                  41 5c
=pop_r14                  41 5e
=pop_r9                   41 59
=pop_rax                  58
=pop_rbp                  5d
=pop_rbx                  5b
=pop_rcx                  59
=pop_rdi                  5f
=pop_rdx                  5a
=pop_rsi                  5e

=push_i32                 68
=push_i8                  6a
=push_r12                 41 54
=push_r8                  41 50
=push_rax                 50
=push_rbp                 55
=push_rbx                 53
=push_rcx                 51
=push_rdi                 57
=push_rdx                 52
=push_rsi                 56

=rep_movsb                f3 a4

=rep_movsd                f3 a5

=rep_stosb                f3 aa

=repe_cmpsb               f3 a6

=ret                      c3

=rol_eax,i8               c1 c0

=ror_eax,i8               c1 c8
=ror_ebx,i8               c1 cb

=sar_rax,cl               48 d3 f8

=sete_al                  0f 94 c0

=setg_al                  0f 9f c0

=setge_al                 0f 9d c0

=setl_al                  0f 9c c0

=setle_al                 0f 9e c0

=setne_al                 0f 95 c0

=shl_ebx,i8               c1 e3
=shl_ecx,i8               c1 e1
=shl_r15,i8               49 c1 e7
=shl_rax,cl               48 d3 e0
=shl_rax,i8               48 c1 e0

=shr_eax,i8               c1 e8
=shr_ecx,i8               c1 e9
=shr_edx,i8               c1 ea
=shr_rcx,i8               48 c1 e9

=stc                      f9

=stosb                    aa

=stosd                    ab

=stosq                    48 ab

=stosw                    66 ab

=sub_al,i8                2c
=sub_eax,edi              29 f8
=sub_eax,edx              29 d0
=sub_eax,i32              2d
=sub_eax,i8               83 e8
=sub_eax,r13d             44 29 e8
=sub_ecx,eax              29 c1
=sub_ecx,esi              29 f1
=sub_ecx,i8               83 e9
=sub_ecx,r13d             44 29 e9
=sub_edx,ebp              29 ea
=sub_edx,esi              29 f2
=sub_rax,rcx              48 29 c8
=sub_rsp,i32              48 81 ec

=syscall                  0f 05

=test_al,al               84 c0
=test_bl,bl               84 db
=test_byte[d32],i8        f6 04 25
=test_byte[rax+d8],i8     f6 40
=test_byte[rdx+d8],i8     f6 42
=test_eax,eax             85 c0
=test_ebp,ebp             85 ed
=test_ecx,ecx             85 c9
=test_edi,edi             85 ff
=test_edx,edx             85 d2
=test_r10d,r10d           45 85 d2
=test_r14d,r14d           45 85 f6
=test_r15,r15             4d 85 ff
=test_r8,r8               4d 85 c0
=test_r9,r9               4d 85 c9
=test_rax,rax             48 85 c0
=test_rdi,rdi             48 85 ff

=ud2                      0f 0b

=xchg_rdx,rsi             48 87 f2

=xor_eax,eax              31 c0
=xor_eax,ebx              31 d8
=xor_eax,edx              31 d0
=xor_eax,r14d             44 31 f0
=xor_ebp,ebp              31 ed
=xor_ecx,ecx              31 c9
=xor_edi,edi              31 ff
=xor_edx,edx              31 d2
=xor_esi,esi              31 f6
=xor_r15d,r15d            45 31 ff
=xor_rax,rcx              48 31 c8
