"""Pairs of a gold answer and a boxed one from trials of kinds that no report had named, as in `grader_cases`."""

from __future__ import annotations

EQUAL = {
    "products side by side": [
        ("6", "2(3)"), ("6", "(2)(3)"), ("24", "4(3)(2)"), ("60", r"\binom{5}{2}\binom42"), ("2", r"4(\frac12)"),
        (r"\log_2(8)", "3"), ("1000", "10^2(10)"), ("2.5", r"2\frac12"),
    ],
    "double factorials and remainders": [("105", "7!!"), ("1", r"7\bmod 3")],
    "functions in pieces": [
        (
            r"f(x)=\begin{cases}x&x\ge0\\-x&x<0\end{cases}",
            r"f(x)=\begin{cases}-x,&\text{if }x<0\\x,&\text{if }x\geq0\end{cases}",
        ),
        (
            r"\begin{cases}1&n\text{ even}\\0&n\text{ odd}\end{cases}",
            r"\begin{cases}0,&\text{if }n\text{ is odd}\\1,&\text{if }n\text{ is even}\end{cases}",
        ),
        (r"\begin{cases}x&=1\\y&=2\end{cases}", "x=1,y=2"),
    ],
    "values more than once": [
        ("1,2,2", "2,1,2"), ("3,3", "3 and 3"), ("111,111", "111111.0"), ("1,2", r"\{2,1\}"),
    ],
    "sums with an index": [(r"\sum_{k=1}^{3}k", "6"), (r"a_{10}=5", "5")],
    "degrees and minutes": [
        (r"30^\circ15'", r"30.25^\circ"), (r"30.5^\circ", r"30^{\circ}30^{\prime}"),
        (r"22^\circ30'", r"\frac{\pi}{8}"),
        (r"30^\circ 15' 36''", r"30.26^\circ"), (r"120^\circ", r"120\text{ deg}"),
    ],
    "areas and rates in other units": [
        (r"0.5\text{ m}^2", r"5000\text{ cm}^2"), ("20 mL", "20 cm^3"), ("1 m/s", "3.6 km/h"), ("3 L", "3000 mL"),
        ("£5", "5 pounds"),
    ],
    "formulas of chemistry": [("H2O", r"\text{H}_2\text{O}"), ("CO2", "CO₂")],
    "yes and no with reasons": [("Yes", "Yes, it is possible"), ("No", "No, there is none")],
    "marks of pages": [
        ("12", "<b>12</b>"), ("x^2", "x<sup>2</sup>"), ("x<3", "x&lt;3"), ("12", "__12__"),
        ("B", "【B】"), ("12", "「12」"),
    ],
    "whole-number parameters": [
        (r"x=\frac{\pi}{4}+k\pi, k\in\mathbb{Z}", r"\frac\pi4+n\pi\ (n\in\mathbb{Z})"),
        ("(n,n)", r"(k,k), k\in\mathbb{N}"),
    ],
    "residues": [(r"x\equiv3\pmod7", r"x\equiv 10\pmod{7}"), ("x ≡ 3 (mod 7)", r"x\equiv3\mod 7")],
    "numbers in other tongues": [
        ("3", "drei"), ("12", "douze"), ("5", "cinco"), ("8", "восемь"), ("321", "三百二十一"), ("0", "zero"),
    ],
    "vectors along axes": [
        ("(2,-1,5)", r"2\hat{i}-\hat{j}+5\hat{k}"), (r"\langle 2,-1,5\rangle", "<2,-1,5>"), ("(1,2)", "(1;2)"),
        (r"\begin{pmatrix}1\\2\\3\end{pmatrix}", "[1;2;3]"), (r"\begin{pmatrix}1\\2\\3\end{pmatrix}", "[1,2,3]^T"),
    ],
    "sets by name": [
        (r"\mathbb{Z}", r"\text{all integers}"), (r"(0,\infty)", r"\mathbb{R}^+"), (r"\emptyset", "Ø"),
    ],
    "functions by other names": [
        (r"\tg 2", r"\tan 2"), (r"\operatorname{arctan}2", r"\arctan2"), (r"2^{1/3}", r"\sqrt[3]2"),
        (r"\ln|x|+C", "ln|x|+C"), (r"2\operatorname{cis}60^\circ", r"1+\sqrt3 i"),
    ],
    "chains of inequalities": [("x<y<z", "z>y>x"), (r"a\le b<c", r"c>b\geq a")],
    "days": [("Monday", "Mon"), ("March 14, 2015", "03/14/2015"), ("9:05 AM", "9:05 in the morning")],
    "options with their values": [
        (r"\textbf{(B)}\ 12", "B"), (r"\textbf{(B)}\ 12", "12"), (r"\textbf{(B)}\ 12", "B) 12"),
        (r"\text{(C) } \frac{1}{3}", r"\frac{2}{6}"), (r"\mathrm{(A)}\ -5", r"\text{A}"), ("C", "(C), not (D)"),
    ],
    "dozens": [
        ("24", "2 dozen"), ("24", r"2\text{ dozen}"), ("36", "three dozen"), ("6", "half a dozen"),
        ("12", "one dozen"),
    ],
    "ordinals": [("3", "3rd"), ("3", "third"), ("3rd", "3"), ("21", "21st")],
    "percent left out": [("25%", "25"), ("150%", "1.5"), ("0.25%", "0.0025"), ("75", r"75\%")],
    "bases of ten": [("11", "11_{10}"), ("5", "5_6")],
    "boxes in a box": [("12", r"x = \boxed{12}"), ("12", r"\text{so }\fbox{12}")],
    "identities": [
        (r"\sin 5x", r"16\sin^5x-20\sin^3x+5\sin x"), (r"\frac18", r"\sin10^\circ\sin50^\circ\sin70^\circ"),
        (r"\binom{2n}{n}", r"\frac{(2n)!}{(n!)^2}"),
    ],
    "worked out": [
        (r"\frac{\pi^2}{6}", r"\sum_{n=1}^\infty\frac1{n^2}=\frac{\pi^2}{6}"), (r"\int_0^1x\,dx", r"\frac12"),
    ],
    "for every": [("f(x)=x", r"f(x)=x \quad\forall x\in\mathbb{R}"), (r"-\infty", "negative infinity")],
    "options and values beside one another": [
        ("(B) 12 cm", "B, 12"), ("(B) 12 cm", "B (12 cm)"), (r"\textbf{(B)}\ \frac{1}{2}", "B, 0.5"),
        ("(B) 12 cm", "B because 13 is larger"), ("B", "B, 13"),
    ],
    "numbers of things in words": [
        ("36", "three dozen eggs"), ("6", "half a dozen eggs"), ("7", r"\text{seven apples}"), ("0", "zero solutions"),
        ("700", "seven hundred apples"), ("3", "three meters"), ("25", "twenty-five students"),
    ],
    "places in a row": [
        ("21", "the 21st"), ("21", "twenty-first"), ("21", "the 21st term"), ("3", "the third"), ("12", "the twelfth"),
        (r"\frac{1}{12}", "one twelfth"), (r"\frac{20}{3}", "twenty thirds"),
    ],
    "beside numbers of many digits": [
        (r"3^{2024}\sqrt2", r"\sqrt{2}\cdot3^{2024}"), ("x^{2024}-1", "(x^{1012}-1)(x^{1012}+1)"),
        (r"2^{50000}\pi", r"\pi\cdot2^{50000}"),
    ],
    "what is worked out as it is read": [
        ("4", r"\gcd(12,8)"), ("1", r"\gcd(2^{100},3^{100})"), ("10^{100}", "(10^{10})^{10}"), ("120", "5!"),
        ("-2", r"\begin{vmatrix}1&2\\3&4\end{vmatrix}"), ("12", r"\boxed{" * 300 + "12" + "}" * 300),
    ],
    "arguments without braces": [
        (r"\frac{a}{b}", r"\frac ab"), (r"\frac{ab}{c}", r"\frac{ab}c"), (r"1+\frac{a}{b}", r"1+\frac a{b}"),
        (r"{a+b\over2}", r"\frac{a+b}{2}"), (r"a+b\over2", r"\frac{a+b}{2}"), (r"1+{a\over b}", r"1+\frac{a}{b}"),
        ("{x}_{1}+{x}_{2}", "x_1+x_2"), ("10^{10^9}", "10^{10^{9}}"),
    ],
    "greek letters": [
        (r"\delta", "δ"), (r"\mu", "µ"), (r"\lambda+1", "λ + 1"), (r"\angle ABC", "∠ABC"), (r"A\subset B", "A⊂B"),
        (r"\lfloor n/2\rfloor", "⌊n/2⌋"), (r"\lfloor n/2\rfloor", "floor(n/2)"), (r"n\bmod2", r"n \mod 2"),
    ],
    "logarithms of products": [
        (r"\ln(ab)", r"\ln a+\ln b"), (r"\ln\frac{x+1}{x}", r"\ln(x+1)-\ln x"), (r"\log_2(4x)", r"2+\log_2x"),
    ],
    "shares in words": [
        (r"\frac16", "1 in 6"), (r"\frac16", "one in six"), (r"\frac23", "two out of three"), ("0.25", "1 in every 4"),
    ],
    "powers of ten with units": [
        (r"3\times10^8 m/s", r"3\times10^8"), (r"1.6\times10^{-19}\text{ C}", r"1.6\times10^{-19}"),
        (r"3\times10^8", r"3\times10^8\text{ m/s}"),
    ],
    "bases of programs": [("1A_{16}", "0x1A"), ("101_2", "0b101")],
    "units of letters": [(r"24\pi\text{ cm}^2", r"24\pi"), (r"24\pi\text{ square cm}", r"24\pi\text{ cm}^2")],
    "words about a formula": [
        ("x^2", r"x^2\text{ is correct}"), ("2^n", r"2^n\text{ for every integer }n\ge0"),
        (r"x\text{ or more}", r"x\text{ or more}"),
    ],
}  # fmt: skip

DIFFERENT = {
    "products side by side": [
        ("5", "2(3)"), ("6", "(2)(3)+1"), ("16", r"\binom{5}{2}\binom42"), ("11", r"5\binom{4}{2}"),
    ],
    "double factorials and remainders": [("105", "7!"), ("105", "5!!"), ("1", r"8\bmod 3")],
    "functions in pieces": [
        (
            r"\begin{cases}1&n\text{ even}\\0&n\text{ odd}\end{cases}",
            r"\begin{cases}1&n\text{ odd}\\0&n\text{ even}\end{cases}",
        ),
        (r"\begin{cases}x&x\ge0\\-x&x<0\end{cases}", r"\begin{cases}x&x>0\\-x&x<0\end{cases}"),
        ("n", r"n\text{ if }n\text{ is even, }n+1\text{ if }n\text{ is odd}"),
    ],
    "values more than once": [("1,2,2", "1,2"), ("3,3", "3"), ("1,1,2", "1,2,2"), ("1,2,2", "1,2,2,2")],
    "sets beside tuples": [("(1,2)", r"\{1,2\}"), (r"\{1,2\}", "(1,2)"), ("(-1,1)", r"\{-1,1\}")],
    "sums with an index": [
        (r"\sum_{k=1}^n k", r"\sum_{k=1}^n k^2"), (r"\frac{dy}{dx}", r"\frac{dx}{dy}"), ("0", r"\frac{dy}{dx}"),
    ],
    "degrees and minutes": [
        (r"30^\circ15'", r"15^\circ30'"), (r"30^\circ", "30'"), (r"30^\circ15'", r"30^\circ"),
        (r"30^\circ15'", "30.15"),
        (r"30^\circ", r"30\text{ rad}"), (r"30^\circ", "30 meters"),
    ],
    "areas and rates in other units": [
        ("0.5 m^2", "50 cm^2"), ("20 mL", "20 m^3"), ("1 m/s", "36 km/h"), ("2 kg", "2 pounds"), (r"\$5", "5 kg"),
    ],
    "formulas of chemistry": [("H2O", "HO2"), ("H_2O", "H_2O_2"), ("CO_2", "Co_2")],
    "yes and no with reasons": [
        ("Yes", "Yes, no"), ("No", "No, wait, yes"), ("Yes", "Yes, if n is even; no otherwise"),
        ("Yes", "Yes, sometimes"),
    ],
    "marks of pages": [
        ("12", "~~12~~"), ("12", "<del>12</del>"), ("x^2", "x<sub>2</sub>"), ("x<3", "x&gt;3"),
        ("12", "<b>12</b> or <b>13</b>"),
    ],
    "whole-number parameters": [
        (r"x=k\pi,k\in\mathbb{Z}", r"x=2n\pi,n\in\mathbb{Z}"),
        (r"a+k\pi,k\in\mathbb{Z}", r"b+k\pi,k\in\mathbb{Z}"),
    ],
    "residues": [(r"x\equiv3\pmod7", r"x\equiv4\pmod7"), (r"x\equiv3\pmod7", r"y\equiv3\pmod7")],
    "numbers in other tongues": [
        ("3", "vier"), ("3", "drei oder vier"), ("15", "五十"), ("120", "一百零二"), ("1", "once"),
    ],
    "vectors along axes": [
        ("(1,2,3)", "i+3j+2k"), ("(1,2,3)", "i+2j"), (r"\langle 1,2\rangle", "<2,1>"), ("(1,2)", "(2;1)"),
        (r"\begin{pmatrix}1\\2\end{pmatrix}", "[2;1]"),
    ],
    "sets by name": [(r"\mathbb{Z}", r"\text{all natural numbers}"), (r"[0,\infty)", r"\mathbb{R}^+")],
    "functions by other names": [
        (r"\tan 2", r"\ctg 2"), (r"\sinh x", r"\ch x"),
        (r"2\operatorname{cis}60^\circ", r"2\operatorname{cis}30^\circ"),
    ],
    "chains of inequalities": [("x<y<z", "z>x>y"), ("x<y<z", r"z\ge y\ge x")],
    "days": [("Monday", "Tue"), ("March 4, 2015", "04/03/2015"), ("9 AM", "9 in the evening")],
    "options with their values": [
        (r"\textbf{(B)}\ 12", "C"), (r"\textbf{(B)}\ 12", "(B) 13"), (r"\textbf{(B)}\ 12", "(C) 12"),
        (r"\textbf{(B)}\ 12", "B or C"),
        ("C", "(C) is incorrect"), ("C", "(C) maybe"), ("C", "(C) unless (D)"),
    ],
    "dozens": [("2", "2 dozen"), ("24", "3 dozen"), ("24", "24 dozen")],
    "ordinals": [("3", "23rd"), (r"\frac13", "third"), ("3", "a third")],
    "percent left out": [
        ("0.25%", "0.25"), ("0.25", r"0.25\%"), ("1", r"1\%"), ("30%", "30 cm"), (r"\$30", r"30\%"),
        (r"30^\circ", r"30\%"),
    ],
    "bases of ten": [("11", "11_2"), ("12", "12_{13}"), ("12", "12_x"), ("180", "180_3")],
    "boxes in a box": [
        ("12", r"\boxed{12},13"), ("12", r"\boxed{12}+1"), ("12", r"-\boxed{12}"),
        ("12", r"\text{either }\boxed{12}\text{ or }\boxed{13}"),
    ],
    "identities": [
        (r"\sin 2x", r"\sin x\cos x"), (r"\sqrt{x^2}", "x"), (r"\ln(x^2)", "2x"), (r"\lfloor x\rfloor", "x"),
        (r"e^{\pi\sqrt{163}}", "262537412640768744"), ("3^{2024}-1", "3^{2024}+1"),
        (r"\frac{2^{2005}+1}{3\cdot2^{2006}}", r"\frac16"),
    ],
    "left to be worked out": [
        (r"\frac{\pi^2}{6}", r"\sum_{n=1}^\infty\frac1{n^2}"), (r"\frac13", r"\int_0^1x^2\,dx"),
        ("2^n", r"\sum_{k=0}^n\binom nk"),
        ("e", r"\lim_{n\to\infty}(1+\frac1n)^n"), (r"\frac13", r"\int_0^1x^2\,dx=\frac12"),
    ],
    "goes on": [("5", r"5,\ldots"), ("12", "12≈13"), ("12", r"12\text{ squared}"), ("12", "1'2")],
    "options and values beside one another": [
        ("(B) 12 cm", "B, 13"), ("(B) 12 cm", "B 13"), ("(B) 12 cm", "B - 13"), ("(B) 12 cm", "B (13)"),
        ("(B) 12 cm", r"\text{B}, 13"), ("(B) 12 cm", "C, 12"), (r"\textbf{(B)}\ \frac{1}{2}", r"B, \frac{1}{3}"),
    ],
    "numbers of things in words": [
        ("13", "a dozen eggs"), ("5", "five times as many"), ("2", "two thirds of the apples"), ("4", "four, not five"),
        ("5", "five or six people"), ("7", "seven point five"), ("20", "twenty-five students"), ("60", "one minute"),
    ],
    "places in a row": [
        (r"\frac{20}{3}", "twenty-third"), ("21", "the 22nd"), (r"\frac13", "the third"), ("4", "the 4th root"),
        ("4", "4th of May"),
    ],
    "beside numbers of many digits": [
        ("e", "e+10^{-70}"), (r"\pi", r"\pi+\frac{1}{100!}"), ("2x", "2x+10^{-70}"), ("e", "e+10^{-20000}"),
        ("x^{2024}+1", "x^{2024}-1"), (r"2^{1000}\pi", r"2^{1000}\pi+1"), (r"\binom{100}{50}x", r"\binom{100}{49}x"),
    ],
    "numbers beside sets": [("[5,7]", "5"), (r"\{1,2\}", "1"), (r"\emptyset", "0")],
    "arguments without braces": [
        (r"{a+b\over2}", r"a+\frac{b}{2}"), (r"\frac{a}{bc}", r"\frac abc"), ("2^{3}4", "2^34"), ("x^{2}y", "x^{2y}"),
    ],
    "greek letters": [(r"\Delta", "δ"), (r"\alpha", "a"), (r"\lfloor n/2\rfloor", "ceil(n/2)")],
    "logarithms of products": [
        (r"\ln(ab)", r"\ln a-\ln b"), (r"\ln(x+1)", r"\ln x+1"), (r"\log_2(4x)", r"4+\log_2x"),
    ],
    "shares in words": [(r"\frac16", "1 in 5"), ("5", "5 out of 6"), ("1", "1 in 6")],
    "powers of ten with units": [
        (r"3\times10^8 m/s", r"3\times10^7 m/s"), (r"3\times10^8\text{ m/s}", r"3\times10^8\text{ km/s}"),
    ],
    "bases of programs": [
        ("1A_{16}", "0x1B"), ("26", "0x1A"), ("0x1F", r"\sqrt{0x1F}"),
        ("0x1F", "0x2F!"),
    ],
    "units of letters": [
        (r"24\pi\text{ cm}^2", r"24\pi\text{ cm}^3"), (r"2\pi\text{ seconds}", r"2\pi\text{ minutes}"),
        (r"x\text{ cm}", r"x\text{ m}"), (r"x^2\text{ cm}^2", r"x^2\text{ cm}^4"),
        (r"2\sqrt{x}\text{ m}", r"2\sqrt x\text{ cm}"),
    ],
    "words about a formula": [
        ("x^2", r"x^2\text{ is wrong}"), (r"\sqrt2", r"\sqrt2\text{ is not the answer}"), ("x+1", r"x+1\text{ maybe}"),
        (r"\sqrt2", r"\sqrt2\text{ or more}"), ("n^2+n", r"n^2+n\text{ for all }n, 7"),
        ("n^2+n", r"n^2+n\text{ for all } n \text{ or } 8"),
    ],
    "bases that are none": [("101_2", "101_0"), ("101_2", "101_1"), ("A5_{16}", "A5_1"), ("101_2", "101_x")],
    "no sense": [
        ("5", r"\begin{pmatrix}1&2\\3&4\end{pmatrix}!"), ("(0,1)", r"\begin{pmatrix}1&2\\3&4\end{pmatrix}!"),
        ("5", r"(x=5)!"), ("5", r"\Gamma(\begin{pmatrix}1&2\\3&4\end{pmatrix})"),
    ],
}  # fmt: skip
