"""proto"""
from __future__ import annotations
import copy
from collections import Counter, defaultdict
import numpy as np
from agent_gym_env.corpus.values import canonical
from agent_gym_env.retrieval.chooser import Chooser
from agent_gym_env.retrieval.mentions import Mention, find_mentions, phrase_key, tokens_of
from agent_gym_env.retrieval.offer import Offer, OfferedSlot, OfferedTool, hashed, identifier_words, stem

YES = {'yes','yeah','yep','sure','correct','right','ok','okay','great','perfect','good','sounds','fine','please'}

class Knowledge:
    def __init__(self):
        self.phrases = {}     # key -> {slot name: {canonical: count}}
        self.common = set()
        self.query_verbs = Counter(); self.trans_verbs = Counter()
        self.tool_chooser = Chooser(); self.slot_chooser = Chooser(); self.flag_chooser = Chooser(); self.due_chooser = Chooser()
    def transactional(self, tool):
        q, t = self.query_verbs[tool.verb], self.trans_verbs[tool.verb]
        return t >= q

def text_words(text, n=2):
    w=[t.stem for t in tokens_of(text)]
    return w
def grams(prefix, w):
    out=[prefix+x for x in w]
    out+= [prefix+a+'_'+b for a,b in zip(w,w[1:])]
    return out

NONE=hashed('none',['none'])

class State:
    def __init__(self, k, offer, today):
        self.k=k; self.offer=offer; self.today=today
        self.values=defaultdict(dict)
        self.heading=None; self.calls={}; self.last_called=None
        self.rows=[]; self.rows_tool=None; self.status=None; self.focus=0
        self.row_of={}   # service -> focus row
        self.reply=''; self.pending={}; self.turn=0; self.rowphrases={}
        self.fresh=set()
    # -- hearing
    def hear(self, user, gold=None):
        k=self.k; self.turn+=1; self.fresh=set()
        self.user=user
        toks=tokens_of(user)
        self.uw=[t.stem for t in toks]
        ug=grams('u:',self.uw); 
        q=self.reply.rsplit('. ',1)[-1]
        self.qw=text_words(self.reply)
        self.heading=self._head(ug,gold)
        if self.heading:
            self._fill(user,toks,gold)
    def _head(self,ug,gold):
        k=self.k; tools=list(self.offer.tools.values())
        sit=hashed('tool',['bias']+ug+['s:'+x for x in self.qw])
        prev=self.offer.tools[self.heading].service if self.heading else None
        opts=[]
        for t in tools:
            fl=['bias']
            if t.name==self.heading: fl.append('was')
            if t.name==self.last_called: fl.append('last')
            if t.name in self.calls: fl.append('called')
            if t.service==prev: fl.append('prevservice')
            kind='trans' if k.transactional(t) else 'query'
            fl+= [kind+f for f in fl]
            opts.append(np.concatenate([t.features,hashed('toolflag',fl)]))
        if gold is not None and gold.tool is not None:
            i=[t.name for t in tools].index(gold.tool)
            p=k.tool_chooser.learn(sit,opts,i)
            return gold.tool
        p=k.tool_chooser.probabilities(sit,opts)
        self.tool_p={t.name:float(x) for t,x in zip(tools,p)}
        return tools[int(p.argmax())].name
    def _fill(self,user,toks,gold):
        k=self.k; service=self.offer.tools[self.heading].service
        slots=self.offer.slots.get(service,{})
        if not slots: return
        enum={}
        for s in slots.values():
            if s.values and not s.is_boolean and not s.is_numeric:
                for v in s.values: enum.setdefault(phrase_key(v),set()).add(s.name)
        ments=find_mentions(user,toks,self.today,(k.phrases,enum,self.rowphrases),k.common)
        self.mentions=ments
        head=self.offer.tools[self.heading]
        cur=self.values[service]
        used=set(); picks=[]
        for mi,m in enumerate(ments):
            opts=[NONE];names=[None];vals=[None]
            for s in slots.values():
                v=self._value(m,s,enum)
                if v is None: continue
                fl=['bias','req' if s.name in head.required else 'opt' if s.name in head.slots else 'other']
                if s.name in cur: fl.append('filled')
                fl.append('kind'+('enum' if s.values else 'free'))
                if s.values: fl.append('hit')
                opts.append(np.concatenate([s.features,hashed('slotflag',fl)])); names.append(s.name); vals.append(v)
            if len(opts)==1: continue
            sit=self._mention_features(m,toks,ments,mi)
            if gold is not None:
                g=gold.slot(m,service,names,vals)
                if g is None: continue
                p=k.slot_chooser.learn(sit,opts,g)
                i=g
            else:
                p=k.slot_chooser.probabilities(sit,opts); i=int(p.argmax())
            if i: picks.append((float(p[i]),names[i],vals[i],m.text))
        for p,name,v,text in sorted(picks):
            self._set(service,name,v,text)
        # booleans and other listed values
        for s in slots.values():
            if not s.values or s.is_numeric or not s.is_boolean: continue
            self._infer(service,s,gold)
    def _set(self,service,name,v,text):
        if self.values[service].get(name,(None,))[0]!=v: self.fresh.add((service,name))
        self.values[service][name]=(v,text)
    def _infer(self,service,s,gold):
        k=self.k
        sit=hashed('infer',['bias']+['u:'+x for x in self.uw]+['s:'+x for x in self.qw]+['u:'+a+'_'+b for a,b in zip(self.uw,self.uw[1:])])
        names=sorted(s.words)
        fl=['bias']+(['filled'] if s.name in self.values[service] else [])
        opts=[hashed('none',names+fl)]+[hashed(v,names+fl) for v in s.values]
        if gold is not None:
            g=gold.flag(service,s)
            if g is None: return
            i=0 if g=='' else 1+s.values.index(g)
            k.flag_chooser.learn(sit,opts,i)
        else:
            i=int(k.flag_chooser.probabilities(sit,opts).argmax())
        if i: self._set(service,s.name,s.values[i-1],s.values[i-1])
    def _mention_features(self,m,toks,ments,mi):
        i=next((j for j,t in enumerate(toks) if t.start>=m.start),len(toks)); j=next((j for j,t in enumerate(toks) if t.start>=m.end),len(toks))
        f=['bias','kind:'+m.kind]
        before=[t.stem for t in toks[max(0,i-3):i]]; after=[t.stem for t in toks[j:j+2]]
        if before: f+=['b1:'+before[-1],'b:'+before[-1]]
        else: f.append('b1:^')
        if len(before)>1: f+=['b2:'+before[-2],'b:'+before[-2],'bb:'+before[-2]+'_'+before[-1]]
        if len(before)>2: f+=['b:'+before[-3]]
        if after: f+=['a1:'+after[0],'a:'+after[0]]
        if len(after)>1: f+=['a:'+after[1]]
        f+=['q:'+w for w in self.qw[-14:]]
        if len(toks)<=j-i+1: f.append('alone')
        if m.kind=='number': f.append('num:'+m.value if len(m.value)<3 else 'num:big'); f.append('say:'+m.key)
        if m.text[:1]=='$': f.append('money')
        known=self.k.phrases.get(m.key)
        if known:
            for s in sorted(known,key=known.get,reverse=True)[:3]: f+=['as:'+w for w in identifier_words(s)]
        if m.key in self.rowphrases: f+=['row:'+w for s in sorted(self.rowphrases[m.key]) for w in identifier_words(s)]
        return hashed('mention',f)
    def _value(self,m,s,enum):
        if s.values:
            if s.is_boolean: return None
            if s.is_numeric: return m.value if m.kind=='number' and m.value in s.values else None
            if s.name in enum.get(m.key,()):
                return next(v for v in s.values if phrase_key(v)==m.key)
            known=self.k.phrases.get(m.key,{})
            best=None
            for slot,cs in known.items():
                for v,c in cs[1].items():
                    if v in s.values and (best is None or c>best[0]): best=(c,v)
            return best[1] if best else None
        if m.kind in('date','time','number'): return m.value
        if m.kind=='known' and m.key in self.k.phrases:
            known=self.k.phrases[m.key]
            pick=known.get(s.name)
            if pick is None:
                sw=set(identifier_words(s.name))
                pick=max(known.items(),key=lambda kv:(len(sw&set(identifier_words(kv[0]))),kv[1]))[1]
            return pick[1].most_common(1)[0][0]
        if m.key in self.rowphrases:
            return next(iter(self.rowphrases[m.key].values()))
        return m.text
    # -- arguments
    def arguments(self,tool):
        cur=self.values.get(tool.service,{}); row=self.row_of.get(tool.service,{})
        args={}
        tr=self.k.transactional(tool)
        for n,s in tool.slots.items():
            if n in cur: args[n]=cur[n][0]
            elif n in row and n in tool.required: args[n]=row[n]
            elif tr and s.default and s.default!='dontcare' and not s.required: args[n]=s.default
        return args
    def due(self,gold=None):
        """tool to call now or None"""
        if not self.heading: return None
        k=self.k; head=self.offer.tools[self.heading]
        tools=self.offer.of_service[head.service]
        sit=hashed('due',['bias']+grams('u:',self.uw))
        opts=[hashed('due',['wait'])]; 
        for t in tools:
            args=self.arguments(t); missing=sum(n not in args for n in t.required)
            tr=k.transactional(t)
            ch='never' if t.name not in self.calls else 'same' if self.calls[t.name]==args else 'changed'
            before=self.pending.get(t.name)
            b='no' if before is None or not before[1] else 'same' if before[0]==args else 'changed'
            h='head' if t.name==self.heading else 'not'
            base=f"{'T' if tr else 'Q'}|m{min(missing,1)}|{h}"
            fl=[base,f'{base}|{ch}',f'{base}|{b}',f'{base}|{ch}|{b}',f"{h}|{min(missing,2)}",'verb:'+t.verb, f"T{tr}"]
            if t.name==self.last_called: fl.append(base+'|last')
            opts.append(hashed('due',fl))
        self.pending={}
        for t in tools:
            args=self.arguments(t); self.pending[t.name]=(args,t.name==self.heading and all(n in args for n in t.required))
        if gold is not None:
            names=[t.name for t in tools]
            if gold.call is None: i=0
            elif gold.call in names: i=1+names.index(gold.call)
            else: return gold.call
            k.due_chooser.learn(sit,opts,i)
        else:
            p=k.due_chooser.probabilities(sit,opts)
            self.due_p=p
            i=int(p.argmax())
        return tools[i-1].name if i else None
    def called(self,name,args,rows,status):
        tool=self.offer.tools.get(name)
        if tool is None: return
        self.calls[name]=dict(args); self.last_called=name; self.rows=rows; self.status=status
        if rows: self.row_of[tool.service]=rows[0]
        self.heading=name
        for n,v in args.items():
            if n in tool.slots: self.values[tool.service].setdefault(n,(v,v))
        for r in rows:
            for s,v in r.items():
                if v.isdigit() or len(v)<3 or canonical(v,self.today)!=canonical(v.upper(),self.today) : continue
                if v in('True','False'): continue
                self.rowphrases.setdefault(phrase_key(v),{})[s]=v
    def said(self,text):
        self.reply=text
        low=text.lower()
        if self.rows and self.heading:
            best=max(range(len(self.rows)),key=lambda i:(sum(len(v)>3 and v.lower() in low for v in self.rows[i].values()),-i))
            sc=sum(len(v)>3 and v.lower() in low for v in self.rows[best].values())
            if sc and self.last_called: self.row_of[self.offer.tools[self.last_called].service]=self.rows[best]
